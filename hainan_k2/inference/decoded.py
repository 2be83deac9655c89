"""Decoded: one utterance of a set with its reference and the hypotheses of all rows of the result table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hainan_k2.inference.batch_search import Outcome
from hainan_k2.result import Hypothesis
from hainan_k2.search import METHODS
from hainan_k2.search.sweep import Row
from hainan_k2.text.normalise import normalise as english


@dataclass(frozen=True)
class Decoded:
    """One utterance: id, reference text, length in seconds, and by row label its hypothesis or why it failed.

    `normalise` is applied to reference and hypotheses before they are compared: Tokenizer.scoring of the model.
    """

    id: str
    reference: str
    seconds: float
    hypotheses: dict[str, Hypothesis]
    failures: dict[str, str]
    normalise: Callable[[str], str] = english

    def texts(self, label: str) -> tuple[str, str, str]:
        """(id, reference, hypothesis) for scoring, both texts normalised. A failed search counts as an empty text."""
        hypothesis = self.hypotheses.get(label)
        return self.id, self.normalise(self.reference), self.normalise(hypothesis.text) if hypothesis else ""

    def add(self, row: Row, outcome: Outcome, pieces: Sequence[str]) -> None:
        """Store the outcome of a row. Oracle methods keep the alternative that is nearest to the reference."""
        if isinstance(outcome, str):
            self.failures[row.label] = outcome
            return
        hypothesis = row.finished(outcome, pieces, self.seconds)
        if METHODS[row.method].oracle:
            hypothesis = nearest(hypothesis, self.reference, self.normalise)
        self.hypotheses[row.label] = hypothesis


def of_method(decoded: Sequence[Decoded], label: str) -> tuple[dict[str, Hypothesis], Callable[[str], str]]:
    """The hypotheses of a row by id, and what texts are normalised by."""
    found = {d.id: d.hypotheses[label] for d in decoded if label in d.hypotheses}
    return found, decoded[0].normalise if decoded else english


def nearest(hypothesis: Hypothesis, reference: str, normalise: Callable[[str], str] = english) -> Hypothesis:
    """The alternative with the fewest word errors against `reference`, the first of equals; it keeps the n-best list.

    `normalise` is applied to both.

    A hypothesis without alternatives is returned as it is.
    """
    import kaldialign

    if not hypothesis.alternatives:
        return hypothesis
    words = normalise(reference).split()
    errors = [kaldialign.edit_distance(words, normalise(h.text).split())["total"] for h in hypothesis.alternatives]
    best = hypothesis.alternatives[errors.index(min(errors))]
    return replace(best, alternatives=hypothesis.alternatives)
