"""Weights of scores that order n-best lists, tuned for the fewest word errors on a development set.

The word error rate as a function of the weights is piecewise constant. Differential evolution (scipy) needs no gradient
and finds good weights from any start; the same seed gives the same weights. What is minimised has a share of expected
errors, texts being true with a probability ~ exp(score): among weights of nearly the same error rate, those win that
tell good texts from bad ones most clearly.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

GENERATIONS = 80
_EXPECTED = 0.3  # share of the expected errors in what is minimised


@dataclass(frozen=True)
class ScoredTexts:
    """The lists of a development set: N texts of U utterances.

    Attributes:
      terms: by name, (N,) scores of every text.
      utterance: (N,) int, ascending; every utterance has a text.
      errors: (N,) word errors of every text.
      lengths: (U,) words of every reference.
    """

    terms: Mapping[str, np.ndarray]
    utterance: np.ndarray
    errors: np.ndarray
    lengths: np.ndarray

    @functools.cached_property
    def first(self) -> np.ndarray:
        """(U,) the first text of every list."""
        return np.searchsorted(self.utterance, np.arange(len(self.lengths)))

    def scores(self, weights: Mapping[str, float]) -> np.ndarray:
        """(N,) weighted sums of the terms; a term of weight 0 is left out. -1e300 stands for -inf."""
        total = np.zeros(len(self.utterance))
        for name, weight in weights.items():
            if weight and name in self.terms:
                total += weight * self.terms[name]
        return np.nan_to_num(total, nan=-1e300, posinf=-1e300, neginf=-1e300)

    def chosen(self, scores: np.ndarray) -> np.ndarray:
        """(U,) the best text of every utterance by scores (N,); the first of equals."""
        best = np.flatnonzero(scores == np.maximum.reduceat(scores, self.first)[self.utterance])
        return np.asarray(best[np.searchsorted(self.utterance[best], np.arange(len(self.lengths)))])

    def best_errors(self, weights: Mapping[str, float]) -> np.ndarray:
        """(U,) word errors of the best texts."""
        return np.asarray(self.errors[self.chosen(self.scores(weights))])

    def oracle_errors(self) -> np.ndarray:
        """(U,) word errors of the texts nearest to the references."""
        return np.asarray(np.minimum.reduceat(self.errors, self.first))

    def rate(self, errors: np.ndarray) -> float:
        """Word error rate, a fraction, of errors (U,)."""
        return float(errors.sum() / max(1, self.lengths.sum()))

    def expected_rate(self, scores: np.ndarray) -> float:
        """The word error rate in expectation, texts being true with a probability ~ exp(score)."""
        best = np.maximum.reduceat(scores, self.first)
        weight = np.exp(scores - best[self.utterance])
        expected = np.add.reduceat(weight * self.errors, self.first) / np.add.reduceat(weight, self.first)
        return float(expected.sum() / max(1, self.lengths.sum()))


def tune(
    texts: ScoredTexts,
    bounds: Sequence[tuple[float, float]],
    to_weights: Callable[[Sequence[float]], Mapping[str, float]],
    seed: int = 0,
) -> list[float]:
    """The parameters with the fewest word errors.

    Args:
      bounds: (lowest, highest) of every parameter.
      to_weights: from parameters to the weights of the terms.
      seed: of the search.

    Returns:
      The values of the parameters, rounded to three decimals.

    Raises:
      ValueError: without texts.
    """
    from scipy.optimize import differential_evolution

    if not len(texts.utterance):
        raise ValueError("the development set has no texts: there is nothing to tune")

    def objective(values: np.ndarray) -> float:
        weights = to_weights([round(float(value), 3) for value in values])
        scores = texts.scores(weights)
        rate = texts.rate(texts.errors[texts.chosen(scores)])
        return rate + _EXPECTED * texts.expected_rate(scores)

    found = differential_evolution(objective, bounds, seed=seed, maxiter=GENERATIONS, popsize=20, polish=False, tol=0.0)
    return [round(float(value), 3) for value in found.x]
