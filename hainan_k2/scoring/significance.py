"""Confidence intervals of error rates and significance of differences, by bootstrap over utterances (Bisani & Ney,
"Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP 2004).

Utterances are drawn with replacement, as many as the test set has; the error rates of many such draws vary as they
would between test sets of the same kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

REPLICATES = 1000


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same utterances: `difference` of their error rates (second minus first), its confidence
    interval (`low`, `high`), and the two-sided `p_value`: twice the share of draws whose difference is zero or has the
    other sign."""

    difference: float
    low: float
    high: float
    p_value: float


def bootstrap(errors: Sequence[int], lengths: Sequence[int], replicates: int = REPLICATES, seed: int = 0) -> np.ndarray:
    """Error rates (replicates,) of resampled test sets.

    Args:
      errors, lengths: errors and reference words of each utterance.
      seed: the same seed draws the same utterances, so that the rates of two systems can be compared draw by draw.

    Raises:
      ValueError: without utterances, or where the two lists differ in length.
    """
    if len(errors) != len(lengths) or not len(errors):
        raise ValueError(f"{len(errors)} error counts, {len(lengths)} lengths: every utterance has both")
    counts, words, rng = np.asarray(errors), np.asarray(lengths), np.random.default_rng(seed)
    draws = (rng.integers(0, len(counts), len(counts)) for _ in range(replicates))
    return np.array([counts[draw].sum() / max(1, words[draw].sum()) for draw in draws])


def interval(
    errors: Sequence[int], lengths: Sequence[int], level: float = 0.95, replicates: int = REPLICATES, seed: int = 0
) -> tuple[float, float]:
    """Confidence interval (low, high) of an error rate; `level` is the probability that it holds the true rate."""
    low, high = np.quantile(bootstrap(errors, lengths, replicates, seed), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def compare(
    first_errors: Sequence[int],
    second_errors: Sequence[int],
    lengths: Sequence[int],
    level: float = 0.95,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Comparison:
    """Paired bootstrap of two systems: errors of each, and the reference words, of the same utterances."""
    differences = bootstrap(second_errors, lengths, replicates, seed) - bootstrap(
        first_errors, lengths, replicates, seed
    )
    low, high = np.quantile(differences, [(1 - level) / 2, (1 + level) / 2])
    other_sign = int(min(np.sum(differences <= 0), np.sum(differences >= 0)))
    p_value = min(1.0, 2 * (1 + other_sign) / (1 + replicates))
    difference = (sum(second_errors) - sum(first_errors)) / max(1, sum(lengths))
    return Comparison(difference, float(low), float(high), p_value)
