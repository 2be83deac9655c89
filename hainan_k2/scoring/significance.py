"""Confidence intervals of error rates and significance of differences, by bootstrap over utterances (Bisani & Ney,
"Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP 2004).

Utterances are drawn with replacement, as many as the test set has; the error rates of many such draws vary as they
would between test sets of the same kind. Where a system was trained several times with different seeds, the trainings
are drawn with replacement as well, so that intervals hold for another training on another test set. Few trainings vary
less than all would: the interval of three is somewhat narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Union

import numpy as np

REPLICATES = 1000
Counts = Union[Sequence[int], Sequence[Sequence[int]], np.ndarray]  # (utterances,) or (seeds, utterances)


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same utterances: `difference` of their error rates (second minus first), its confidence
    interval (`low`, `high`), and the two-sided `p_value`: twice the share of draws whose difference is zero or has the
    other sign."""

    difference: float
    low: float
    high: float
    p_value: float


def bootstrap(errors: Counts, lengths: Sequence[int], replicates: int = REPLICATES, seed: int = 0) -> np.ndarray:
    """Error rates (replicates,) of resampled test sets, and of resampled trainings where there are several.

    Args:
      errors, lengths: errors and reference words of each utterance; errors have a row per training.
      seed: the same seed draws the same utterances and trainings, so that two systems, or trainings with the same
        seeds, can be compared draw by draw.

    Raises:
      ValueError: without utterances or trainings, or where a row of errors and the lengths differ in number.
    """
    counts, words, rng = np.atleast_2d(errors), np.asarray(lengths), np.random.default_rng(seed)
    (trainings, utterances), rates = counts.shape, np.empty(replicates)
    if utterances != len(words) or not counts.size:
        raise ValueError(f"{utterances} error counts, {len(words)} lengths: every utterance has both")
    for i in range(replicates):
        draw = rng.integers(0, utterances, utterances)
        drawn = counts[:, draw].sum(1)
        if trainings > 1:
            drawn = drawn[rng.integers(0, trainings, trainings)]
        rates[i] = drawn.sum() / max(1, trainings * words[draw].sum())
    return rates


def interval(
    errors: Counts, lengths: Sequence[int], level: float = 0.95, replicates: int = REPLICATES, seed: int = 0
) -> tuple[float, float]:
    """Confidence interval (low, high) of an error rate; `level` is the probability that it holds the true rate."""
    low, high = np.quantile(bootstrap(errors, lengths, replicates, seed), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def compare(
    first_errors: Counts,
    second_errors: Counts,
    lengths: Sequence[int],
    level: float = 0.95,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Comparison:
    """Paired bootstrap of two systems: errors of each, and the reference words, of the same utterances. Rows of errors,
    where there are several, are trainings with the same seeds in the same order."""
    first, second = np.atleast_2d(first_errors), np.atleast_2d(second_errors)
    if first.shape != second.shape:
        raise ValueError(f"{first.shape} and {second.shape} error counts: both systems have the same trainings and set")
    differences = bootstrap(second, lengths, replicates, seed) - bootstrap(first, lengths, replicates, seed)
    low, high = np.quantile(differences, [(1 - level) / 2, (1 + level) / 2])
    other_sign = int(min(np.sum(differences <= 0), np.sum(differences >= 0)))
    p_value = min(1.0, 2 * (1 + other_sign) / (1 + replicates))
    difference = float(second.sum() - first.sum()) / max(1, len(first) * int(np.sum(lengths)))
    return Comparison(difference, float(low), float(high), p_value)
