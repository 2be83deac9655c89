"""The references of language models, on a bigram model of two words, and of the search with them on two frames."""

import math

import pytest

from tests.oracles.lm import DictionaryLm, lm_paths, token_passing, weigh
from tests.oracles.search import nar_paths

SYMBOLS = ("<blk>", "a")
LN10 = math.log(10.0)
LM = DictionaryLm(
    {
        ("<s>",): (-99.0, -0.5),
        ("</s>",): (-1.0, 0.0),
        ("a",): (-0.3, -0.2),
        ("b",): (-0.7, 0.0),
        ("<s>", "a"): (-0.1, 0.0),
    }
)
TOKENS, DURATIONS = [[-1.0, -2.0], [-3.0, -0.5]], [[-0.1, -2.0], [-0.2, -0.3]]  # tokens {blank, a}, durations 1 and 2


def test_a_bigram_that_is_listed():
    assert LM.log_prob(("<s>",), "a") == pytest.approx(-0.1 * LN10)


def test_backing_off_costs_the_weight_of_the_history():
    assert LM.log_prob(("<s>",), "b") == pytest.approx((-0.5 - 0.7) * LN10)
    assert LM.log_prob(("b", "a"), "b") == pytest.approx((-0.2 - 0.7) * LN10)  # one word of history counts


def test_unknown_words():
    assert LM.log_prob(("a",), "z") == -math.inf
    with_unk = DictionaryLm({**LM.ngrams, ("<unk>",): (-2.0, -0.4)})
    assert with_unk.log_prob(("a",), "z") == pytest.approx((-0.2 - 2.0) * LN10)
    assert with_unk.log_prob(("z",), "a") == pytest.approx((-0.4 - 0.3) * LN10)


def test_a_sentence():
    assert LM.score(["a", "b"]) == pytest.approx((-0.1 + (-0.2 - 0.7) + (0.0 - 1.0)) * LN10)
    assert LM.score([]) == LM.final(("<s>",)) == pytest.approx((-0.5 - 1.0) * LN10)


def test_a_model_without_an_end_ends_no_sentence():
    assert DictionaryLm({("a",): (-1.0, 0.0)}).final(("a",)) == -math.inf


def test_the_history_that_matters():
    assert LM.after(("<s>",), "a") == ("a",)
    assert DictionaryLm({("a", "b", "a"): (-1.0, 0.0)}).after(("a", "b"), "a") == ("b", "a")


def test_an_arpa_file(tmp_path):
    assert LM.write(tmp_path / "lm.arpa").endswith("lm.arpa")
    text = (tmp_path / "lm.arpa").read_text()
    assert "ngram 1=4\nngram 2=1\n" in text and "\n-0.3\ta\t-0.2\n" in text and "\n-0.1\t<s> a\n" in text
    assert DictionaryLm.read(tmp_path / "lm.arpa").ngrams == LM.ngrams


@pytest.mark.parametrize(
    "score, weight, product", [(-2.0, 0.5, -1.0), (-math.inf, 0.0, 0.0), (-math.inf, -1.0, 0.0), (-2.0, -1.0, 2.0)]
)
def test_weigh(score, weight, product):
    assert weigh(score, weight) == product
    assert weigh(-math.inf, 1.0) == -math.inf


def test_a_path_with_two_models():
    ((path, score),) = lm_paths([([(1, 0)], -1.0)], [(LM, 0.5), (LM, -0.25)], SYMBOLS)
    assert path == [(1, 0)] and score == pytest.approx(-1.0 + 0.25 * LM.score(["a"]))


def test_the_best_path_with_a_model():
    """Two frames: blank and a, a and a, a and blank, each of two arcs or of one arc of duration 2."""
    path, score = token_passing(TOKENS, DURATIONS, (1, 2), [(LM, 1.0)], SYMBOLS)
    assert path == [(1, 1, 1)]  # blank at frame 0, a at frame 1
    assert score == pytest.approx(-1.0 - 0.1 - 0.5 - 0.2 + LM.score(["a"]))
    everything = lm_paths(nar_paths(TOKENS, DURATIONS, (1, 2)), [(LM, 1.0)], SYMBOLS)
    assert score == pytest.approx(max(score for _, score in everything))


def test_options_of_the_best_path():
    plain = token_passing(TOKENS, DURATIONS, (1, 2), [], SYMBOLS)
    assert plain[1] == pytest.approx(-1.0 - 0.1 - 0.5 - 0.2)
    assert token_passing(TOKENS, DURATIONS, (1, 2), [], SYMBOLS, bonus=2.0)[0] == [(1, 0, 1), (1, 1, 1)]
    assert token_passing(TOKENS, DURATIONS, (1, 2), [], SYMBOLS, penalty=1.5)[0] == [(1, 0, 1), (1, 1, 1)]
    assert token_passing(TOKENS, DURATIONS, (1, 2), [], SYMBOLS, scale=0.0)[1] == pytest.approx(-1.0)


def test_no_path_where_the_model_ends_no_sentence():
    endless = DictionaryLm({("<s>",): (-1.0, 0.0), ("a",): (-1.0, 0.0)})
    assert token_passing(TOKENS, DURATIONS, (1, 2), [(endless, 1.0)], SYMBOLS) is None
