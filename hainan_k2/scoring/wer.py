"""Word and character error rates; jiwer aligns and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Optional

from hainan_k2.scoring import significance

Words = tuple[str, ...]
TextPair = tuple[str, str, str]  # utterance id, reference text, hypothesis text


@dataclass(frozen=True)
class Errors:
    """Counts of an alignment of a hypothesis with its reference, in words or in characters."""

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def total(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference_length(self) -> int:
        return self.hits + self.substitutions + self.deletions

    @property
    def rate(self) -> float:
        """Errors over reference length, a fraction. For an empty reference: 0 without errors, else infinite."""
        if self.reference_length:
            return self.total / self.reference_length
        return float("inf") if self.total else 0.0

    def __add__(self, other: Errors) -> Errors:
        return Errors(
            self.hits + other.hits,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


@dataclass(frozen=True)
class ScoredUtterance:
    """One utterance: its words, its errors and its alignment.

    `alignment` splits reference and hypothesis into pairs of word sequences, in order: equal sides are correct words,
    an empty reference side an insertion, an empty hypothesis side a deletion, all others substitutions.
    """

    id: str
    reference: Words
    hypothesis: Words
    words: Errors
    alignment: tuple[tuple[Words, Words], ...]

    @cached_property
    def characters(self) -> Errors:
        """Errors in characters, with single spaces between words: of an hour they take ten times as long as words."""
        import jiwer

        aligned = jiwer.process_characters([" ".join(self.reference)], [" ".join(self.hypothesis)])
        return _count(aligned.alignments[0])

    def pairs(self) -> Iterator[tuple[Optional[str], Optional[str]]]:
        """The alignment word by word, (reference, hypothesis), None for no word."""
        for reference, hypothesis in self.alignment:  # jiwer's substitutions have equally many words on both sides
            blank = [None] * max(len(reference), len(hypothesis))
            yield from zip(reference or blank, hypothesis or blank)


@dataclass(frozen=True)
class Score:
    """The score of a test set; every figure derives from its utterances. Rates are fractions, not percent.

    `words` and `characters` are sums over the utterances; characters include single spaces between words.
    `empty_references` counts utterances with an empty reference, where every recognised word is an insertion.
    """

    utterances: tuple[ScoredUtterance, ...]

    @property
    def words(self) -> Errors:
        return sum((u.words for u in self.utterances), Errors())

    @property
    def characters(self) -> Errors:
        return sum((u.characters for u in self.utterances), Errors())

    @property
    def wer(self) -> float:
        return self.words.rate

    @property
    def cer(self) -> float:
        return self.characters.rate

    @property
    def substitutions(self) -> int:
        return self.words.substitutions

    @property
    def deletions(self) -> int:
        return self.words.deletions

    @property
    def insertions(self) -> int:
        return self.words.insertions

    @property
    def empty_references(self) -> int:
        return sum(not u.reference for u in self.utterances)

    def wer_interval(self, level: float = 0.95) -> tuple[float, float]:
        """Bootstrap confidence interval of the WER, (low, high). Raises ValueError without utterances."""
        return significance.interval(*self._columns(), level)

    def compare(self, other: Score) -> significance.Comparison:
        """Paired bootstrap of this WER minus that of `other`. Raises ValueError unless both have the same utterance
        ids and references."""
        if [(u.id, u.reference) for u in self.utterances] != [(u.id, u.reference) for u in other.utterances]:
            raise ValueError(
                "only results on the same utterances and references can be compared; here are "
                f"{len(self.utterances)} and {len(other.utterances)} that differ"
            )
        errors, lengths = self._columns()
        return significance.compare(other._columns()[0], errors, lengths)

    def _columns(self) -> tuple[list[int], list[int]]:
        return [u.words.total for u in self.utterances], [u.words.reference_length for u in self.utterances]

    def __str__(self) -> str:
        low, high = self.wer_interval()
        empty = f", {self.empty_references} of them without a reference" if self.empty_references else ""
        return (
            f"WER {100 * self.wer:.2f} % [{100 * low:.2f}, {100 * high:.2f}], "
            f"CER {100 * self.cer:.2f} %; {self.substitutions} sub, {self.deletions} del, "
            f"{self.insertions} ins, {self.words.reference_length} words, "
            f"{len(self.utterances)} utterances{empty}"
        )


def score(results: Iterable[TextPair]) -> Score:
    """Score texts that are normalised in the same way; words are split at white space.

    Args:
      results: (utterance id, reference text, hypothesis text) of every utterance.

    Returns:
      The Score, with utterances sorted by id. Raises ValueError where an id occurs twice.

    >>> score([("a", "the cat sat", "the cat"), ("b", "", "")]).wer
    0.3333333333333333
    """
    import jiwer

    results = sorted(results)
    repeated = [name for name, count in Counter(name for name, _, _ in results).items() if count > 1]
    if repeated:
        raise ValueError(f"{len(repeated)} utterances have several results, e.g. {repeated[0]}")
    if not results:
        return Score(())
    references = [" ".join(reference.split()) for _, reference, _ in results]
    hypotheses = [" ".join(hypothesis.split()) for _, _, hypothesis in results]
    words = jiwer.process_words(references, hypotheses)
    return Score(
        tuple(
            ScoredUtterance(
                name,
                tuple(reference),
                tuple(hypothesis),
                _count(chunks),
                tuple(_word_pairs(chunks, reference, hypothesis)),
            )
            for (name, _, _), reference, hypothesis, chunks in zip(
                results, words.references, words.hypotheses, words.alignments
            )
        )
    )


def _count(chunks: Sequence[Any]) -> Errors:
    """The errors of one utterance's jiwer.AlignmentChunks."""
    sizes: Counter[str] = Counter()
    for c in chunks:
        sizes[c.type] += max(c.ref_end_idx - c.ref_start_idx, c.hyp_end_idx - c.hyp_start_idx)
    return Errors(sizes["equal"], sizes["substitute"], sizes["delete"], sizes["insert"])


def _word_pairs(
    chunks: Sequence[Any], reference: Sequence[str], hypothesis: Sequence[str]
) -> Iterator[tuple[Words, Words]]:
    """The alignment of `ScoredUtterance` from one utterance's jiwer.AlignmentChunks."""
    for c in chunks:
        yield (tuple(reference[c.ref_start_idx : c.ref_end_idx]), tuple(hypothesis[c.hyp_start_idx : c.hyp_end_idx]))
