"""Tuned weights against a grid search, and word error rates against a loop."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.tuning.lists import ScoredTexts, tune


def random_lists(seed, utterances=40, names=("nar", "ar", "length")):
    """Lists of 1 to 6 texts, in which the sum nar + ar - 0.5 length tells the errors, with noise."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(utterances), rng.integers(1, 7, utterances))
    terms = {name: rng.normal(size=len(owner)) * 3 for name in names}
    quality = terms["nar"] + terms["ar"] - 0.5 * terms["length"] + rng.normal(size=len(owner))
    errors = np.clip(np.round(4 - quality), 0, 12).astype(int)
    return ScoredTexts(terms, owner, errors, rng.integers(1, 9, utterances))


def rate_by_loop(texts, weights):
    total = 0
    for u in range(len(texts.lengths)):
        rows = [n for n in range(len(texts.utterance)) if texts.utterance[n] == u]
        scores = [sum(weights[name] * texts.terms[name][n] for name in weights) for n in rows]
        total += texts.errors[rows[scores.index(max(scores))]]
    return total / texts.lengths.sum()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.floats(-2, 2), min_size=3, max_size=3))
def test_the_error_rate_is_that_of_the_best_texts(seed, values):
    texts = random_lists(seed, 12)
    weights = dict(zip(("nar", "ar", "length"), values))
    assert texts.rate(texts.best_errors(weights)) == pytest.approx(rate_by_loop(texts, weights))
    first = [texts.errors[list(texts.utterance).index(u)] for u in range(12)]
    assert texts.errors[texts.first].tolist() == first
    assert (texts.oracle_errors() <= texts.best_errors(weights)).all()


def test_a_text_without_a_score_is_never_chosen_and_weight_0_leaves_it_out():
    terms = {"ar": np.array([-math.inf, -5.0, -2.0]), "nar": np.array([0.0, -1.0, -3.0])}
    texts = ScoredTexts(terms, np.array([0, 0, 1]), np.array([7, 1, 2]), np.array([10, 10]))
    assert texts.best_errors({"nar": 1.0, "ar": 1.0}).tolist() == [1, 2]
    assert texts.best_errors({"nar": 1.0, "ar": 0.0}).tolist() == [7, 2]
    assert texts.best_errors({"absent": 3.0}).tolist() == [7, 2]  # of equals the first


def to_weights(values):
    return {"nar": 1.0 - values[0], "ar": values[0], "length": values[1]}


@pytest.mark.parametrize("seed", [0, 1])
def test_tuned_weights_are_as_good_as_those_of_a_grid(seed):
    texts = random_lists(seed)
    found = tune(texts, [(0.0, 1.0), (-2.0, 2.0)], to_weights, seed)
    assert found == tune(texts, [(0.0, 1.0), (-2.0, 2.0)], to_weights, seed)
    grid = [(a, b) for a in np.linspace(0, 1, 21) for b in np.linspace(-2, 2, 21)]
    best = min(texts.rate(texts.best_errors(to_weights(point))) for point in grid)
    assert texts.rate(texts.best_errors(to_weights(found))) <= best + 0.01
    assert found[0] == pytest.approx(0.5, abs=0.2)


def test_there_must_be_texts():
    empty = ScoredTexts({}, np.array([], dtype=int), np.array([]), np.array([]))
    with pytest.raises(ValueError, match="no texts: there is nothing to tune"):
        tune(empty, [(0.0, 1.0)], to_weights)
