"""How sure an error rate is: bootstrap over utterances (Bisani & Ney, ICASSP 2004).

Utterances are drawn again with replacement, as many as there are; the spread of the rates of such draws is
the spread to expect on other utterances of the same kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

REPLICATES = 1000


@dataclass(frozen=True)
class Comparison:
    """`difference` of two error rates (second less first), its interval, and a two-sided p-value: twice how
    often
    the resampled difference is zero or has the other sign."""

    difference: float
    low: float
    high: float
    p_value: float


def bootstrap(errors: Sequence[int], lengths: Sequence[int], replicates: int = REPLICATES, seed: int = 0) -> np.ndarray:
    """Error rates (replicates,) of resampled sets of utterances with so many errors and reference words each.

    The same seed draws the same utterances, so the rates of two systems can be compared pairwise.
    """
    errors, lengths, rng = np.asarray(errors), np.asarray(lengths), np.random.default_rng(seed)
    if len(errors) != len(lengths) or not len(errors):
        raise ValueError(f"{len(errors)} error counts, {len(lengths)} lengths: every utterance has both")
    draws = (rng.integers(0, len(errors), len(errors)) for _ in range(replicates))
    return np.array([errors[draw].sum() / max(1, lengths[draw].sum()) for draw in draws])


def interval(
    errors: Sequence[int], lengths: Sequence[int], level: float = 0.95, replicates: int = REPLICATES, seed: int = 0
) -> tuple[float, float]:
    """Confidence interval of an error rate."""
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
    """Paired bootstrap of two systems on the same utterances."""
    differences = bootstrap(second_errors, lengths, replicates, seed) - bootstrap(
        first_errors, lengths, replicates, seed
    )
    low, high = np.quantile(differences, [(1 - level) / 2, (1 + level) / 2])
    other_sign = int(min(np.sum(differences <= 0), np.sum(differences >= 0)))
    p_value = min(1.0, 2 * (1 + other_sign) / (1 + replicates))
    difference = (sum(second_errors) - sum(first_errors)) / max(1, sum(lengths))
    return Comparison(difference, float(low), float(high), p_value)
