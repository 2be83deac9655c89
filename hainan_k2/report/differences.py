"""The texts of several methods for one utterance, aligned word by word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from hainan_k2.scoring.wer import ScoredUtterance

Column = tuple[Optional[str], tuple[Optional[str], ...]]


def columns(scored: Sequence[ScoredUtterance]) -> list[Column]:
    """Align the results of several methods for one utterance: (reference word, word of each method) per column.

    A deleted word is None in the method's row. Inserted words have columns of their own, whose reference word is None;
    between two reference words there are as many as the longest insertion has words.

    Args:
      scored: the utterance as scored for each method, all with the same reference.
    """
    reference = scored[0].reference if scored else ()
    matched: list[list[Optional[str]]] = []  # for each method, the word aligned with each reference word
    inserted: list[list[list[Optional[str]]]] = []  # and the words inserted before each of them and after the last
    for utterance in scored:
        matched.append([])
        inserted.append([[]])
        for word, recognised in utterance.pairs():
            if word is None:
                inserted[-1][-1].append(recognised)
            else:
                matched[-1].append(recognised)
                inserted[-1].append([])
    aligned: list[Column] = []
    for position in range(len(reference) + 1):
        extra = [words[position] for words in inserted]
        for i in range(max(map(len, extra), default=0)):
            aligned.append((None, tuple(words[i] if i < len(words) else None for words in extra)))
        if position < len(reference):
            aligned.append((reference[position], tuple(words[position] for words in matched)))
    return aligned
