"""Fits the calibration of a method's word confidences (hainan_k2.confidence) on judged words of a development set.

Logistic regression of "is correct" on log c and -log(1 - c), by Newton's method, with slopes that are not negative. As
Platt (1999) does, correct words count as (n + 1) / (n + 2) instead of 1, with n their number, and wrong ones as
1 / (m + 2), so that few words, or words that are all correct, give finite values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hainan_k2.confidence import Calibration, log_odds
from hainan_k2.scoring.calibration import calibration
from hainan_k2.search import SearchConfig
from hainan_k2.tuning.dev_set import DevSet

_ROUNDS, _CLOSE = 100, 1e-10


def fit_calibration(words: Sequence[tuple[float, bool]]) -> Calibration:
    """The calibration of highest likelihood. Without any slope all words have the same probability.

    Args:
      words: (confidence in [0, 1], whether the word is correct) of each word.
    Raises:
      ValueError: without words.
    """
    if not words:
        raise ValueError("no words were recognised: there is nothing to fit confidences to")
    inputs = np.array([(*log_odds(confidence), 1.0) for confidence, _ in words])
    correct = np.array([is_correct for _, is_correct in words])
    targets = np.where(correct, (correct.sum() + 1) / (correct.sum() + 2), 1 / ((~correct).sum() + 2))
    best, lowest = np.zeros(3), np.inf
    for used in ([0, 1, 2], [0, 2], [1, 2], [2]):  # the best of all without negative slopes is the best of one of these
        weights = np.zeros(3)
        weights[used] = _newton(inputs[:, used], targets)
        loss = _loss(inputs, targets, weights)
        if min(weights[:2]) >= 0 and loss < lowest:
            best, lowest = weights, loss
    return Calibration(*(round(float(weight), 6) for weight in np.clip(best, -100, 100)))


def calibrate(dev: DevSet, options: SearchConfig) -> tuple[Calibration, str]:
    """The calibration of the method of `dev` with these options, and a line with the errors before and after."""
    words = dev.words(options)
    fitted = fit_calibration(words)
    before, after = calibration(words).error, calibration((fitted(c), correct) for c, correct in words).error
    return fitted, (
        f"confidences of {len(words)} words: low {fitted.low:.3f}, high {fitted.high:.3f}, offset {fitted.offset:.3f}, "
        f"expected calibration error {after:.4f}, before {before:.4f}"
    )


def _newton(inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The weights (K,) of inputs (N, K) for which sigmoid(inputs @ weights) fits targets (N,) best."""
    weights = np.zeros(inputs.shape[1])
    loss = _loss(inputs, targets, weights)
    for _ in range(_ROUNDS):
        p = 1 / (1 + np.exp(-inputs @ weights))
        curvature = (inputs * (p * (1 - p))[:, None]).T @ inputs + 1e-9 * np.eye(len(weights))
        step = np.linalg.solve(curvature, inputs.T @ (targets - p))
        size = 1.0
        while _loss(inputs, targets, weights + size * step) > loss and size > 1e-6:
            size /= 2
        weights = weights + size * step
        before, loss = loss, _loss(inputs, targets, weights)
        if before - loss < _CLOSE * len(targets):
            break
    return np.asarray(weights)


def _loss(inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> float:
    """The negative log-likelihood."""
    scores = inputs @ weights
    return float((np.logaddexp(0, scores) - targets * scores).sum())
