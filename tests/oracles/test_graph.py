"""The references of word graphs, on a bigram model of two words."""

import math

import pytest

from tests.oracles.graph import arpa_text, best_path, best_way, random_ngrams, readings, steps
from tests.oracles.lm import DictionaryLm

# {n-gram: (natural log-probability, back-off weight or None)}
NGRAMS = {
    ("<s>",): (-90.0, -1.0),
    ("</s>",): (-2.0, None),
    ("x",): (-1.0, -0.5),
    ("y",): (-3.0, None),
    ("<s>", "x"): (-4.0, None),
}
SPELLINGS = [("x", (1,)), ("y", (2,)), ("xy", (1, 2))]


def test_both_ways_to_a_listed_bigram():
    """Back-off is free to take: the bigram, or the back-off weight and the unigram."""
    assert list(steps(NGRAMS, ("<s>",), "x")) == [(-4.0, ("x",)), (-1.0 - 1.0, ("x",))]


def test_a_word_that_continues_nothing_leads_to_the_empty_history():
    assert list(steps(NGRAMS, ("x",), "y")) == [(-0.5 - 3.0, ())]
    assert list(steps(NGRAMS, (), "z")) == []


def test_the_best_way_takes_the_better_one():
    assert best_way(NGRAMS, ["x"]) == pytest.approx(-2.0 - 0.5 - 2.0)
    assert best_way(NGRAMS, []) == pytest.approx(-1.0 - 2.0)
    assert best_way(NGRAMS, ["z"]) == -math.inf


def test_readings():
    assert list(readings((1, 2), SPELLINGS)) == [[("x", 1), ("y", 2)], [("xy", 2)]]
    assert list(readings((2, 1), SPELLINGS)) == [[("y", 1), ("x", 2)]]
    assert list(readings((3,), SPELLINGS)) == [] and list(readings((), SPELLINGS)) == [[]]


def test_arpa_text_reads_back_as_a_language_model(tmp_path):
    (tmp_path / "lm.arpa").write_text(arpa_text(NGRAMS))
    lm = DictionaryLm.read(tmp_path / "lm.arpa")
    assert set(lm.ngrams) == set(NGRAMS)
    assert lm.log_prob(("<s>",), "x") == pytest.approx(-4.0, abs=1e-5)
    assert lm.log_prob(("x",), "y") == pytest.approx(-3.5, abs=1e-5)


def test_random_ngrams_have_histories_for_their_ends():
    ngrams = random_ngrams(0, ["x", "y"], 3)
    assert max(map(len, ngrams)) == 3 and ngrams == random_ngrams(0, ["x", "y"], 3)
    assert all(ngrams[ngram[:-1]][1] is not None for ngram in ngrams if len(ngram) > 1)


def test_the_best_path_that_spells_a_sentence():
    """One frame of duration 1: a blank, token 1 = x, token 2 = y."""
    rows = [[-1.0, -2.0, -0.1]], [[0.0]]
    score, tokens, words = best_path(*rows, (1,), SPELLINGS, NGRAMS, 0.0)
    assert (score, tokens, words) == (pytest.approx(-0.1), (2,), ["y"])
    score, tokens, words = best_path(*rows, (1,), SPELLINGS, NGRAMS, 1.0)
    ways = {"": -1.0 - 3.0, "x": -2.0 - 4.5, "y": -0.1 - (1.0 + 3.0) - 2.0}
    assert score == pytest.approx(max(ways.values())) and tokens == () and words == []
