"""Word and character error rates, aligned and counted by jiwer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from hainan_k2.scoring import significance

Words = tuple[str, ...]
Result = tuple[str, str, str]  # id, reference text, recognised text


@dataclass(frozen=True)
class Errors:
    """Counts of an alignment."""

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
        """Errors over reference length; without a reference 0 if there are none, else infinite."""
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
    """An utterance's words, its errors in words and in characters, and its alignment: pairs of runs of words,
    in
    order. A pair is correct if its sides are equal; an empty side is an insertion or a deletion."""

    id: str
    reference: Words
    hypothesis: Words
    words: Errors
    characters: Errors
    alignment: tuple[tuple[Words, Words], ...]

    def pairs(self) -> Iterator[tuple[Optional[str], Optional[str]]]:
        """The alignment word by word, (reference, hypothesis); None for no word."""
        for reference, hypothesis in self.alignment:  # jiwer's substituted runs are of one length
            blank = [None] * max(len(reference), len(hypothesis))
            yield from zip(reference or blank, hypothesis or blank)


@dataclass(frozen=True)
class Score:
    """The score of a set; every measure follows from its utterances. Rates are fractions, not percent.

    `words` and `characters` are sums over the utterances; characters are those of the words with single
    spaces between. `empty_references` counts utterances in which nothing is said: all words recognised there
    are insertions.
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
        """Bootstrap confidence interval of the WER; ValueError without utterances."""
        return significance.interval(*self._columns(), level)

    def compare(self, other: Score) -> significance.Comparison:
        """Paired bootstrap of this WER less that of `other`; ValueError unless ids and references agree."""
        if [(u.id, u.reference) for u in self.utterances] != [(u.id, u.reference) for u in other.utterances]:
            raise ValueError(
                "only results on the same utterances and references compare; these are "
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


def score(results: Iterable[Result]) -> Score:
    """Score (id, reference, hypothesis) texts that are normalised alike, split at white space.

    Utterances come back sorted by id. Raises ValueError for an id that comes twice.

    >>> score([("a", "the cat sat", "the cat"), ("b", "", "")]).wer
    0.3333333333333333
    """
    import jiwer

    results = sorted(results)
    repeated = [name for name, count in Counter(name for name, _, _ in results).items() if count > 1]
    if repeated:
        raise ValueError(f"{len(repeated)} utterances have several results, for one {repeated[0]}")
    if not results:
        return Score(())
    references = [" ".join(reference.split()) for _, reference, _ in results]
    hypotheses = [" ".join(hypothesis.split()) for _, _, hypothesis in results]
    words = jiwer.process_words(references, hypotheses)
    characters = jiwer.process_characters(references, hypotheses)
    return Score(
        tuple(
            ScoredUtterance(
                name,
                tuple(reference),
                tuple(hypothesis),
                _count(word_chunks),
                _count(character_chunks),
                tuple(_runs(word_chunks, reference, hypothesis)),
            )
            for (name, _, _), reference, hypothesis, word_chunks, character_chunks in zip(
                results, words.references, words.hypotheses, words.alignments, characters.alignments
            )
        )
    )


def _count(chunks: Sequence[Any]) -> Errors:
    """The errors of one utterance's jiwer.AlignmentChunks."""
    sizes: Counter[str] = Counter()
    for c in chunks:
        sizes[c.type] += max(c.ref_end_idx - c.ref_start_idx, c.hyp_end_idx - c.hyp_start_idx)
    return Errors(sizes["equal"], sizes["substitute"], sizes["delete"], sizes["insert"])


def _runs(chunks: Sequence[Any], reference: Sequence[str], hypothesis: Sequence[str]) -> Iterator[tuple[Words, Words]]:
    for c in chunks:
        yield (tuple(reference[c.ref_start_idx : c.ref_end_idx]), tuple(hypothesis[c.hyp_start_idx : c.hyp_end_idx]))
