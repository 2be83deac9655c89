"""The texts of several methods for one utterance, aligned word by word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Optional

from hainan_k2.scoring.wer import Score, ScoredUtterance, score

Aligned = tuple[Optional[str], ...]  # the word of each method, None for no word
Column = tuple[Optional[str], Aligned]  # the reference word, None where words are inserted; the words of the methods
Pair = tuple[Optional[str], Optional[str], int]  # two words that are aligned, None for no word, and how often they are


def columns(scored: Sequence[ScoredUtterance]) -> list[Column]:
    """Align the results of several methods for one utterance: (reference word, word of each method) per column.

    A deleted word is None in the method's row. Inserted words have columns of their own, whose reference word is None;
    the insertions of the methods between two reference words are aligned with each other by `align`.

    Args:
      scored: the utterance as scored for each method, all with the same reference.
    """
    reference = scored[0].reference if scored else ()
    matched: list[list[Optional[str]]] = []  # for each method, the word aligned with each reference word
    inserted: list[list[list[str]]] = []  # and the words inserted before each of them and after the last
    for utterance in scored:
        matched.append([])
        inserted.append([[]])
        for word, recognised in utterance.pairs():
            if word is not None:
                matched[-1].append(recognised)
                inserted[-1].append([])
            elif recognised is not None:
                inserted[-1][-1].append(recognised)
    aligned: list[Column] = []
    for position in range(len(reference) + 1):
        aligned += [(None, words) for words in align([words[position] for words in inserted])]
        if position < len(reference):
            aligned.append((reference[position], tuple(words[position] for words in matched)))
    return aligned


def align(texts: Sequence[Sequence[str]]) -> list[Aligned]:
    """Align texts of which none is a reference: the word of each text per column.

    Each text is aligned with the one that has the fewest word errors against all others, the first of equals. Words
    that it does not have are aligned in the same way.

    >>> align([[], ["a", "b"], ["b"]])
    [(None, 'a', None), (None, 'b', 'b')]
    """
    present = [i for i, text in enumerate(texts) if text]
    if not present:
        return []
    distances = dict.fromkeys(present, 0)  # from all others
    for one, other in combinations(present, 2):
        errors = _scored(texts[one], texts[other]).words.total
        distances[one] += errors
        distances[other] += errors
    middle = texts[min(present, key=distances.__getitem__)]
    return [words for _, words in columns([_scored(middle, text) for text in texts])]


def _scored(one: Sequence[str], other: Sequence[str]) -> ScoredUtterance:
    return score([("", " ".join(one), " ".join(other))]).utterances[0]


def unequal_pairs(scored: Score) -> list[Pair]:
    """The aligned words that differ, the most frequent first."""
    counts = Counter(pair for u in scored.utterances for pair in u.pairs() if pair[0] != pair[1])
    return [(*pair, count) for pair, count in sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))]


@dataclass(frozen=True)
class Difference:
    """How two methods differ, each in the same relation to the other.

    Args:
      first, second: indices of the methods.
      count: word differences: the edit distance of their texts, summed over utterances.
      rate: `count` over the words of the longer text of each utterance, at most 1; None if there are none.
      words: the most frequent differences: word of the first, word of the second, count.
    """

    first: int
    second: int
    count: int
    rate: Optional[float]
    words: tuple[Pair, ...]


def differences(texts: Sequence[Mapping[str, str]], most: int) -> list[Difference]:
    """Compare every two methods, without a reference.

    Args:
      texts: for each method, its normalised texts by utterance id. Two methods are compared on those that both have.
      most: how many of the most frequent differences are kept.
    """
    found = []
    for first, second in combinations(range(len(texts)), 2):
        one, other = texts[first], texts[second]
        scored = score((name, text, other[name]) for name, text in one.items() if name in other)
        count, words = scored.words.total, sum(max(len(u.reference), len(u.hypothesis)) for u in scored.utterances)
        rate = count / words if words else None
        found.append(Difference(first, second, count, rate, tuple(unequal_pairs(scored)[:most])))
    return found
