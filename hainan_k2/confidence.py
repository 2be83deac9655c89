"""Calibration of word confidences: from what a search computes to the probability that the word is correct.

    p = sigmoid(low * log c - high * log (1 - c) + offset)

This is beta calibration (Kull, Silva Filho and Flach, "Beta calibration", AISTATS 2017); with low = high it is Platt
scaling, and with offset 0 as well, a temperature. Slopes below 1 correct a model that is too sure of itself.
hainan-tune fits the three numbers for each method on a development set, so that they hold for speech like that set's:
where words are harder, confidences are still too high.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from hainan_k2.config import shown
from hainan_k2.result import Hypothesis, Word

EDGE = 1e-4  # confidences nearer to 0 and 1 than this count as this: among them are rounding errors


@dataclass(frozen=True)
class Calibration:
    """The map of one method. `low` and `high` are its slopes near confidence 0 and 1, in log-odds. They are not
    negative: a higher confidence is never a lower probability."""

    low: float
    high: float
    offset: float

    def __call__(self, confidence: float) -> float:
        """The probability, in [0, 1].

        >>> round(Calibration(0.5, 0.5, 0.0)(0.9), 3)
        0.75
        """
        wrong, right = log_odds(confidence)
        return sigmoid(self.low * wrong + self.high * right + self.offset)

    def applied(self, hypothesis: Hypothesis) -> Hypothesis:
        """The hypothesis with probabilities as confidences of its words and of those of its alternatives; the tokens
        keep theirs."""
        alternatives = tuple(self.applied(listed) for listed in hypothesis.alternatives)
        return replace(hypothesis, words=self.of_words(hypothesis.words), alternatives=alternatives)

    def of_words(self, words: Sequence[Word]) -> tuple[Word, ...]:
        """The words with probabilities as confidences."""
        return tuple(replace(word, confidence=self(word.confidence)) for word in words)

    def as_dict(self) -> dict[str, float]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> Calibration:
        """Raises ValueError for what is no calibration."""
        names = [f.name for f in fields(cls)]
        if not isinstance(values, Mapping) or set(values) != set(names):
            raise ValueError(f"calibration {shown(values)} should have {', '.join(names)}")
        numbers = [values[name] for name in names]
        if not all(type(x) in (int, float) and abs(x) <= 100 for x in numbers) or min(numbers[:2]) < 0:
            raise ValueError(f"calibration {shown(values)}: low and high are from 0 to 100, offset from -100 to 100")
        return cls(*map(float, numbers))


def log_odds(confidence: float) -> tuple[float, float]:
    """log c and -log(1 - c), whose sum is the log-odds of a confidence c, moved into [EDGE, 1 - EDGE]."""
    inside = min(max(confidence, EDGE), 1 - EDGE)
    return math.log(inside), -math.log1p(-inside)


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 + 0.5 * math.tanh(x / 2)
