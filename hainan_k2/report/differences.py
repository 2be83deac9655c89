"""What several methods made of the same utterance, word beside word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from hainan_k2.scoring.wer import ScoredUtterance

Column = tuple[Optional[str], tuple[Optional[str], ...]]


def columns(scored: Sequence[ScoredUtterance]) -> list[Column]:
    """The words of one reference and of what each method recognised: (reference word, word of every method) in order.

    A method has None where it deletes the reference's word. Inserted words stand in columns whose reference is None,
    as many between two of its words as the longest insertion there needs.
    """
    reference = scored[0].reference if scored else ()
    matched: list[list[Optional[str]]] = []  # of every method, what stands for each word of the reference
    inserted: list[list[list[str]]] = []  # and what stands before each of them and behind the last
    for utterance in scored:
        matched.append([])
        inserted.append([[]])
        for word, said in utterance.pairs():
            if word is None:
                inserted[-1][-1].append(said)
            else:
                matched[-1].append(said)
                inserted[-1].append([])
    found: list[Column] = []
    for place in range(len(reference) + 1):
        extra = [words[place] for words in inserted]
        for i in range(max(map(len, extra), default=0)):
            found.append((None, tuple(words[i] if i < len(words) else None for words in extra)))
        if place < len(reference):
            found.append((reference[place], tuple(words[place] for words in matched)))
    return found
