"""The matched-pairs test of segments: whether two systems make different numbers of word errors on the same utterances
(Gillick & Cox, "Some statistical issues in the comparison of speech recognition algorithms", ICASSP 1989; MAPSSWE in
NIST's sclite).

Errors of neighbouring words depend on each other, those of different segments hardly do. A segment is a part of an
utterance with errors of either system; at least BETWEEN words that both recognise lie between two segments. The mean
difference of errors per segment is then normally distributed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hainan_k2.scoring.wer import Score, ScoredUtterance

BETWEEN = 2  # correct words between segments
Pair = tuple[int, int]  # errors of the first and of the second system


@dataclass(frozen=True)
class SegmentTest:
    """`segments` with errors, `difference` of errors per segment (second minus first), and the two-sided `p_value` that
    a difference at least as large comes from equal systems."""

    segments: int
    difference: float
    p_value: float


def slots(scored: ScoredUtterance) -> list[int]:
    """Word errors by place, 2 R + 1 for R reference words: insertions before the first word, errors of this word,
    insertions before the second word, and so on."""
    errors = [0]
    for reference, hypothesis in scored.pairs():
        if reference is None:
            errors[-1] += 1
        else:
            errors += [int(reference != hypothesis), 0]
    return errors


def segments_of(first: ScoredUtterance, second: ScoredUtterance) -> list[Pair]:
    """The errors of both systems in every segment of an utterance."""
    found: list[Pair] = []
    correct = BETWEEN  # words that both recognised since the last error
    for place, (a, b) in enumerate(zip(slots(first), slots(second))):
        if not a and not b:
            correct += place % 2
        elif correct >= BETWEEN:
            found.append((a, b))
        else:
            found[-1] = found[-1][0] + a, found[-1][1] + b
        if a or b:
            correct = 0
    return found


def segment_test(pairs: Sequence[Pair]) -> SegmentTest:
    """The test of errors in segments. Where all segments differ by the same number it is the sign test."""
    differences = [b - a for a, b in pairs]
    count, total = len(differences), sum(differences)
    if not total:
        return SegmentTest(count, 0.0, 1.0)
    mean = total / count
    squares = sum((d - mean) ** 2 for d in differences)
    if not squares:
        return SegmentTest(count, mean, min(1.0, 2 * 0.5**count))
    z = mean / math.sqrt(squares / (count - 1) / count)
    return SegmentTest(count, mean, math.erfc(abs(z) / math.sqrt(2)))


def compare_segments(first: Score, second: Score) -> SegmentTest:
    """The test of two results on the same utterances. Raises ValueError where utterances or references differ."""
    if [(u.id, u.reference) for u in first.utterances] != [(u.id, u.reference) for u in second.utterances]:
        raise ValueError("only results on the same utterances and references can be compared")
    pairs = zip(first.utterances, second.utterances)
    return segment_test([errors for a, b in pairs for errors in segments_of(a, b)])
