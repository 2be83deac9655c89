"""Calibration of word confidences: of the words with confidence 0.8, four in five should be correct."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Optional

from hainan_k2.result import Hypothesis
from hainan_k2.scoring.wer import Score, ScoredUtterance

BINS = 15  # as in Guo et al., On calibration of modern neural networks, arXiv 1706.04599


@dataclass(frozen=True)
class Bin:
    """Words of similar confidence: their number, their mean confidence and the share of them that is correct."""

    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """The bins that contain words, sorted by confidence."""

    bins: tuple[Bin, ...]

    @property
    def words(self) -> int:
        """Number of words in all bins."""
        return sum(b.count for b in self.bins)

    @property
    def error(self) -> Optional[float]:
        """Expected calibration error, ECE: the sum over bins of count / words * |accuracy - confidence| (Guo et al.,
        equation 3). None if there are no words."""
        if not self.bins:
            return None
        return sum(b.count * abs(b.accuracy - b.confidence) for b in self.bins) / self.words


def calibration(words: Iterable[tuple[float, bool]]) -> Calibration:
    """Sort words into 15 confidence bins of equal width; confidence 1 belongs to the last bin.

    Args:
      words: (confidence in [0, 1], whether the word is correct) of each word.

    >>> calibration([(0.9, True), (0.9, False)]).error
    0.4
    """
    groups: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for confidence, correct in words:
        groups[min(int(confidence * BINS), BINS - 1)].append((confidence, correct))
    return Calibration(
        tuple(
            Bin(len(group), sum(c for c, _ in group) / len(group), sum(correct for _, correct in group) / len(group))
            for group in groups
            if group
        )
    )


def judged_utterances(
    scored: Score, hypotheses: Mapping[str, Hypothesis], normalise: Callable[[str], str]
) -> list[Optional[list[tuple[float, bool]]]]:
    """`judged_words` of every scored utterance that has a hypothesis, by id."""
    return [judged_words(u, hypotheses[u.id], normalise) for u in scored.utterances if u.id in hypotheses]


def judged_words(
    scored: ScoredUtterance, hypothesis: Hypothesis, normalise: Callable[[str], str]
) -> Optional[list[tuple[float, bool]]]:
    """(confidence, correct) of every recognised word. A word is correct if it is aligned with an equal reference word.

    Returns None if the scored words do not match the hypothesis's words one to one, which happens where normalising
    the whole text gives other words than normalising each word.
    """
    parts = [(part, word.confidence) for word in hypothesis.words for part in normalise(word.text).split()]
    if tuple(part for part, _ in parts) != scored.hypothesis:
        return None
    correct = [word == recognised for word, recognised in scored.pairs() if recognised is not None]
    return [(confidence, is_correct) for (_, confidence), is_correct in zip(parts, correct)]
