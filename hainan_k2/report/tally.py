"""The summary at the end of transcribe.py: notes, failures and, with references, error rates."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Optional

from hainan_k2.files.text_tables import printable
from hainan_k2.inference.decoded import Decoded
from hainan_k2.inference.inputs import Inputs
from hainan_k2.report.decoding import table
from hainan_k2.scoring.references import References
from hainan_k2.scoring.wer import score
from hainan_k2.stopwatch import Stopwatch

logger = logging.getLogger(__name__)


class Tally:
    """Collects what the summary needs of each result. Only scored recordings keep their hypotheses in memory.

    Attributes:
      known: (path, result) of each recording with a reference; n-best lists are dropped.
      others: (path, result) of each recording that was read and has no reference; hypotheses are dropped.
      failures: one line per failure.
      notes: how often each note occurs among the hypotheses.
    """

    def __init__(self, failures: Iterable[str] = ()):
        self.known: list[tuple[str, Decoded]] = []
        self.others: list[tuple[str, Decoded]] = []
        self.failures = list(failures)
        self.notes: Counter = Counter()

    def add(self, path: str, decoded: Decoded, reference: Optional[str], errors: Iterable[str]) -> None:
        """Add the result of one recording; `errors` are its failures, one line each."""
        self.failures += errors
        self.notes.update(hypothesis.note for hypothesis in decoded.hypotheses.values() if hypothesis.note)
        if reference is not None:
            hypotheses = {label: replace(best, alternatives=()) for label, best in decoded.hypotheses.items()}
            self.known.append((path, replace(decoded, hypotheses=hypotheses)))
        elif decoded.seconds:
            self.others.append((path, replace(decoded, hypotheses={}, failures={})))

    def tell(self, inputs: Inputs, references: Optional[References]) -> None:
        """Log the counts, and the name of every recording without a reference."""
        for note, count in self.notes.items():
            logger.info("%d results: %s", count, note)
        for why, count in inputs.left_out.items():
            logger.info(
                "%d files were %s%s", count, why, ", and are not scored" if references and why == "done before" else ""
            )
        if references is None:
            return
        for line in references.missing:
            logger.warning("no reference: %s", printable(line))
        logger.info(
            "%d recordings are scored, %d have no reference; %d references belong to no recording",
            len(self.known),
            len(references.missing),
            references.unused(),
        )

    def scores(self, labels: Sequence[str], watch: Stopwatch) -> str:
        """The table of error rates and times that decode.py prints, or "" if no recording is scored.

        If a method failed on a recording, its result counts as empty. Recordings that could not be read do not count.
        """
        if not self.known:
            return ""
        audio = sum(decoded.seconds for _, decoded in (*self.known, *self.others))
        return table(
            {label: score(decoded.texts(label) for _, decoded in self.known) for label in labels},
            audio,
            {name: [watch.seconds[name]] for name in ("encoder", *labels)},
        )
