"""Calibration of word confidences: from what a search computes to the probability that the word is correct.

    p = sigmoid(slope * logit(confidence) + offset)

A slope below 1 corrects a model that is too sure of itself, as a temperature above 1 does; with the offset it is Platt
scaling. hainan-tune fits both for each method on a development set, so that they hold for speech like that set's:
where words are harder, confidences are still too high.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from hainan_k2.config import shown
from hainan_k2.result import Hypothesis, Word

EDGE = 1e-4  # confidences nearer to 0 and 1 than this count as this: among them are rounding errors


@dataclass(frozen=True)
class Calibration:
    """The map of one method. A slope is not negative: a higher confidence is never a lower probability."""

    slope: float
    offset: float

    def __call__(self, confidence: float) -> float:
        """The probability, in [0, 1].

        >>> round(Calibration(0.5, 0.0)(0.9), 3)
        0.75
        """
        return sigmoid(self.slope * logit(confidence) + self.offset)

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
        """Raises ValueError for what is no slope and offset."""
        if not isinstance(values, Mapping) or set(values) != {"slope", "offset"}:
            raise ValueError(f"calibration {shown(values)} should have slope and offset")
        slope, offset = (values[name] for name in ("slope", "offset"))
        if not all(type(x) in (int, float) and abs(x) <= 100 for x in (slope, offset)) or slope < 0:
            raise ValueError(f"calibration {shown(values)}: slope is from 0 to 100, offset from -100 to 100")
        return cls(float(slope), float(offset))


def logit(confidence: float) -> float:
    """log(c / (1 - c)) of a confidence, moved into [EDGE, 1 - EDGE]."""
    inside = min(max(confidence, EDGE), 1 - EDGE)
    return math.log(inside / (1 - inside))


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 + 0.5 * math.tanh(x / 2)
