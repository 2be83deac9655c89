"""Whether confidences are true: of the words that are given 0.8, are four in five correct?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional

from hainan_k2.result import Hypothesis
from hainan_k2.scoring.wer import ScoredUtterance
from hainan_k2.text import normalise

BINS = 10


@dataclass(frozen=True)
class Bin:
    """Words whose confidence is about the same: how many, their mean confidence, and the share that is correct."""

    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """The bins that hold words, by ascending confidence."""

    bins: tuple[Bin, ...]

    @property
    def words(self) -> int:
        return sum(b.count for b in self.bins)

    @property
    def error(self) -> Optional[float]:
        """Expected calibration error, sum over bins of count / words * |accuracy - confidence|; None without words
        (Guo et al., arXiv 1706.04599, equation 3)."""
        if not self.bins:
            return None
        return sum(b.count * abs(b.accuracy - b.confidence) for b in self.bins) / self.words


def calibration(judged: Iterable[tuple[float, bool]]) -> Calibration:
    """Of (confidence in [0, 1], whether the word is correct), in ten bins of equal width; 1 belongs to the last."""
    groups: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for confidence, correct in judged:
        groups[min(int(confidence * BINS), BINS - 1)].append((confidence, correct))
    return Calibration(
        tuple(
            Bin(len(group), sum(c for c, _ in group) / len(group), sum(correct for _, correct in group) / len(group))
            for group in groups
            if group
        )
    )


def judged_words(scored: ScoredUtterance, hypothesis: Hypothesis) -> Optional[list[tuple[float, bool]]]:
    """Confidence of every recognised word and whether it is aligned to itself.

    None where the words as they are scored cannot be told apart in the hypothesis: normalising the text as a whole
    gives other words than normalising word by word.
    """
    parts = [(part, word.confidence) for word in hypothesis.words for part in normalise(word.text).split()]
    if tuple(part for part, _ in parts) != scored.hypothesis:
        return None
    verdicts = [word == said for word, said in scored.pairs() if said is not None]
    return [(confidence, correct) for (_, confidence), correct in zip(parts, verdicts)]
