"""Interpolated language models against dictionaries and plain sums."""

import io
import math
import random

import numpy as np
import pytest

from hainan_k2.fsa.language.arpa import read_arpa, write_arpa
from hainan_k2.fsa.language.interpolation import interpolate, tune_weights
from hainan_k2.fsa.language.ngram import NgramLm, vocabulary_of
from tests.oracles.lm import SYMBOLS, WORDS, DictionaryLm, small_lm


@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_weighted_mean_and_adds_up_to_one(seed, tmp_path):
    parts = [small_lm(10 * seed + i, order=2 + i) for i in range(2)]
    paths = [part.write(tmp_path / f"{i}.arpa") for i, part in enumerate(parts)]
    models = [NgramLm.read(path, SYMBOLS) for path in paths]
    vocabulary = vocabulary_of(SYMBOLS)
    sections = interpolate(models, [read_arpa(path, vocabulary) for path in paths], [0.3, 0.7])
    with open(tmp_path / "mix.arpa", "w", encoding="utf-8") as stream:
        write_arpa(stream, sections, [*SYMBOLS, "<s>", "</s>"])
    mixed = DictionaryLm.read(tmp_path / "mix.arpa")
    assert set(mixed.ngrams) == set(parts[0].ngrams) | set(parts[1].ngrams)
    for ngram in mixed.ngrams:
        if ngram != ("<s>",):
            wanted = sum(w * math.exp(part.log_prob(ngram[:-1], ngram[-1])) for w, part in zip((0.3, 0.7), parts))
            assert 10 ** mixed.ngrams[ngram][0] == pytest.approx(wanted, rel=1e-4)
    for history in [(), *(ngram for ngram in mixed.ngrams if ngram[-1] != "</s>")]:
        if len(history) < mixed.order:
            total = sum(math.exp(mixed.log_prob(history, word)) for word in WORDS)
            assert total == pytest.approx(1.0, abs=1e-3)
    assert NgramLm.read(str(tmp_path / "mix.arpa"), SYMBOLS).order == mixed.order  # its reader takes it


def test_weights_are_tuned_to_the_text(tmp_path):
    parts = [small_lm(seed) for seed in (1, 2)]
    models = [NgramLm.read(part.write(tmp_path / f"{i}.arpa"), SYMBOLS) for i, part in enumerate(parts)]
    rng = random.Random(0)
    sentences = [[SYMBOLS.index(rng.choice(SYMBOLS[2:])) for _ in range(4)] for _ in range(10)]

    def log_probability(weight):
        total = 0.0
        for sentence in sentences:
            words = [*(SYMBOLS[i] for i in sentence), "</s>"]
            for i, word in enumerate(words):
                total += math.log(
                    sum(
                        w * math.exp(part.log_prob(["<s>", *words[:i]], word))
                        for w, part in zip((weight, 1 - weight), parts)
                    )
                )
        return total

    weights = tune_weights(models, sentences, rounds=300)
    assert weights.sum() == pytest.approx(1.0)
    best = max(np.linspace(0.001, 0.999, 400), key=log_probability)
    assert log_probability(weights[0]) >= log_probability(best) - 1e-3


def test_invalid_weights_are_refused(tmp_path):
    path = small_lm(0).write(tmp_path / "x.arpa")
    model, sections = NgramLm.read(path, SYMBOLS), read_arpa(path, vocabulary_of(SYMBOLS))
    for weights in ([0.5, 0.6], [1.0], [0.0, 1.0], [1.5, -0.5]):
        with pytest.raises(ValueError, match="should be 2 positive numbers that add up to 1"):
            interpolate([model, model], [sections, sections], weights)


def test_an_interpolation_with_itself_is_itself(tmp_path):
    lm = small_lm(3)
    path = lm.write(tmp_path / "x.arpa")
    model, sections = NgramLm.read(path, SYMBOLS), read_arpa(path, vocabulary_of(SYMBOLS))
    stream = io.StringIO()
    write_arpa(stream, interpolate([model, model], [sections, sections], [0.4, 0.6]), [*SYMBOLS, "<s>", "</s>"])
    (tmp_path / "y.arpa").write_text(stream.getvalue(), encoding="utf-8")
    again = DictionaryLm.read(tmp_path / "y.arpa")
    for ngram, (log_prob, backoff) in lm.ngrams.items():
        assert again.ngrams[ngram][0] == pytest.approx(log_prob, abs=1e-4)
        assert again.ngrams[ngram][1] == pytest.approx(backoff, abs=1e-3)
