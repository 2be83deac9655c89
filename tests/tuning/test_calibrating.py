"""Calibrations are those of highest likelihood, found by another minimiser; a development set gives its words."""

import math
import random
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.confidence import Calibration
from hainan_k2.scoring.calibration import calibration
from hainan_k2.search import SearchConfig
from hainan_k2.search.viterbi import viterbi
from hainan_k2.text import normalise
from hainan_k2.tuning.calibrating import calibrate, fit_calibration
from tests.oracles.lm import SYMBOLS
from tests.oracles.search import batches
from tests.tuning.test_dev_set import TEXTS, dev_set, encoded


def loss(words, low, high, offset):
    """Platt's negative log-likelihood, word by word."""
    n = sum(ok for _, ok in words)
    good, bad = (n + 1) / (n + 2), 1 / (len(words) - n + 2)
    total = 0.0
    for confidence, ok in words:
        p = 1 / (1 + math.exp(-(low * math.log(confidence) - high * math.log(1 - confidence) + offset)))
        target = good if ok else bad
        total -= target * math.log(p) + (1 - target) * math.log(1 - p)
    return total


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0.05, 0.95), st.booleans()), min_size=1, max_size=30))
def test_nothing_near_is_better(words):
    found = fit_calibration(words)
    best = loss(words, found.low, found.high, found.offset)
    for low, high, offset in product((-0.05, 0.0, 0.05), repeat=3):
        if found.low + low >= 0 and found.high + high >= 0:
            assert loss(words, found.low + low, found.high + high, found.offset + offset) >= best - 1e-5


def test_a_known_map_is_found_again():
    rng, truth = random.Random(0), Calibration(1.5, 0.4, -0.4)
    confidences = [rng.random() for _ in range(20000)]
    words = [(c, rng.random() < truth(c)) for c in confidences]
    found = fit_calibration(words)
    assert (found.low, found.high, found.offset) == pytest.approx((1.5, 0.4, -0.4), abs=0.1)
    assert calibration((found(c), ok) for c, ok in words).error < 0.01 < calibration(words).error


def test_few_or_contradicting_words_give_a_usable_map():
    assert 0.5 < fit_calibration([(1.0, True)])(1.0) < 1
    assert fit_calibration([(0.9, True)] * 50 + [(0.1, False)] * 50)(0.9) > 0.9
    contrary = fit_calibration([(0.9, False)] * 30 + [(0.1, True)] * 30)
    assert contrary.low == contrary.high == 0 and contrary(0.9) == contrary(0.1) == pytest.approx(0.5, abs=0.01)
    with pytest.raises(ValueError, match="no words were recognised"):
        fit_calibration([])


@settings(max_examples=10, deadline=None)
@given(batches())
def test_the_words_of_a_development_set(batch):
    """Of two batches: as many as the search finds, and one that is correct is in the reference."""
    model, encoder_out, lens = batch
    dev = dev_set(model, [encoded(*batch), encoded(*batch, first=len(lens))])
    hypotheses = [h.with_words(SYMBOLS) for h in viterbi(model, encoder_out, lens, SearchConfig())]
    words = dev.words(SearchConfig())
    spelled = [[(part, w.confidence) for w in h.words for part in normalise(w.text).split()] for h in hypotheses]
    assert [confidence for confidence, _ in words] == pytest.approx([c for one in spelled for _, c in one] * 2)
    for (_, correct), (word, text) in zip(words, [(w, t) for one, t in zip(spelled, TEXTS) for w, _ in one]):
        assert word in text.split() or not correct
    if words:
        fitted, line = calibrate(dev, SearchConfig())
        assert fitted == fit_calibration(words) and f"of {len(words)} words" in line
        assert np.isfinite([fitted.low, fitted.high, fitted.offset]).all()
