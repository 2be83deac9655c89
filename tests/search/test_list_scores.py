"""Scores of n-best lists against brute force over all alignments, one text at a time, in float64."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.search import list_scores as module
from hainan_k2.search.list_scores import ListScores, ctc_scores
from tests.oracles.loss import brute_force
from tests.oracles.search import DURATION_SETS, Speaker, encoder_output


@st.composite
def lists(draw, max_frames=5):
    predictor, layers = draw(st.sampled_from((("lstm", 1), ("lstm", 2), ("stateless", 1))))
    model = Speaker(draw(st.integers(0, 10**6)), 4, draw(st.sampled_from(DURATION_SETS)), predictor, layers, 0.0)
    lens = draw(st.lists(st.integers(0, max_frames), min_size=1, max_size=3))
    texts = st.lists(st.lists(st.integers(1, 3), max_size=3).map(tuple), max_size=4, unique=True)
    listed = [(b, text) for b in range(len(lens)) for text in draw(texts)]
    return model, *encoder_output(draw(st.integers(0, 10**6)), lens), listed


def scores_of(model, encoded, lens, listed, beam):
    with torch.no_grad():
        utterance = torch.tensor([b for b, _ in listed], dtype=torch.int64)
        projected = model.joiner.project_encoder(encoded)
        return ListScores(model, projected, lens, utterance, [text for _, text in listed], beam)


def expected(model, encoded, text, with_predictor):
    if not len(encoded):
        return -math.inf if text else 0.0
    with torch.no_grad():
        projected = model.joiner.project_encoder(encoded)[:, None].expand(-1, len(text) + 1, -1)
        predicted = model.joiner.project_predictor(model.predictor(torch.tensor([text], dtype=torch.int64)))
        logits = model.joiner.logits(projected, predicted if with_predictor else None)
    return -brute_force(logits.numpy(), text, model.durations)[0]


@settings(max_examples=60, deadline=None)
@given(lists())
def test_all_alignments_of_every_text_are_added_up(case):
    model, encoded, lens, listed = case
    scored = scores_of(*case, math.inf)
    for n, (b, text) in enumerate(listed):
        frames = encoded[b, : lens[b]]
        assert scored.nar[n].item() == pytest.approx(expected(model, frames, text, False), abs=1e-9)
        assert scored.ar[n].item() == pytest.approx(expected(model, frames, text, True), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(lists(max_frames=12), st.sampled_from((1.0, 5.0, 20.0)))
def test_a_band_loses_alignments_and_adds_none(case, beam):
    whole, banded = scores_of(*case, math.inf), scores_of(*case, beam)
    assert banded.nar.tolist() == whole.nar.tolist()
    assert (banded.ar <= whole.ar + 1e-9).all()
    if beam == 20.0:
        assert banded.ar.isneginf().tolist() == whole.ar.isneginf().tolist()


def test_a_wide_band_loses_nothing_that_counts():
    """The wider the band, the less is lost; a beam of 10 nats loses less than one of 2."""
    lost = []
    for beam in (2.0, 10.0, 40.0):
        total = 0.0
        for seed in range(10):
            model, (encoded, lens) = Speaker(seed, 4, (0, 1, 2, 4)), encoder_output(seed, [20, 13])
            listed = [(b, text) for b in range(2) for text in itertools.product((1, 2, 3), repeat=3)]
            total += float(
                (
                    scores_of(model, encoded, lens, listed, math.inf).ar
                    - scores_of(model, encoded, lens, listed, beam).ar
                ).mean()
            )
        lost.append(total / 10)
    assert lost[0] > lost[1] > lost[2] >= -1e-9 and lost[2] < 1e-6


def test_scores_in_parts_and_blocks(monkeypatch):
    model, (encoded, lens) = Speaker(1, durations=(0, 1, 2, 4)), encoder_output(1, [12, 0, 7, 9])
    listed = [(b, text) for b in range(4) for text in ((), (1, 2), (1, 2, 3), (1, 4, 4, 2), (3,))]
    whole = scores_of(model, encoded, lens, listed, 5.0)
    monkeypatch.setattr(module, "_NUMBERS", 1)
    monkeypatch.setattr(module, "_STATES", 1)
    parts = scores_of(model, encoded, lens, listed, 5.0)
    assert parts.ar.tolist() == pytest.approx(whole.ar.tolist(), abs=1e-9)
    assert parts.nar.tolist() == pytest.approx(whole.nar.tolist(), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(lists(max_frames=4))
def test_ctc_adds_up_all_label_sequences(case):
    model, encoded, lens, listed = case
    with torch.no_grad():
        found = ctc_scores(model, encoded, lens, torch.tensor([b for b, _ in listed]).long(), [x for _, x in listed])
        log_probs = model.ctc_log_probs(encoded)
    for (b, text), score in zip(listed, found.tolist()):
        paths = [
            sum(float(log_probs[b, t, label]) for t, label in enumerate(path))
            for path in itertools.product(range(model.vocab_size), repeat=int(lens[b]))
            if tuple(label for label, _ in itertools.groupby(path) if label) == text
        ]
        total = float(torch.tensor(paths, dtype=torch.float64).logsumexp(0)) if paths else -math.inf
        assert score == pytest.approx(total, abs=1e-9)
