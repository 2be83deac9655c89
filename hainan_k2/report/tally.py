"""What transcribe.py tells at the end: notes, failures, error rates where there are references."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Optional

from hainan_k2.inference.decoded import Decoded
from hainan_k2.inference.inputs import Inputs, shown
from hainan_k2.report.decoding import table
from hainan_k2.scoring.references import References
from hainan_k2.scoring.wer import score
from hainan_k2.stopwatch import Stopwatch


class Tally:
    """What is kept of the results of all recordings, in bounded memory unless they are scored.

    known: path and result of each recording that has a reference, without n-best lists. others: of each that could be
    read and has none, without its hypotheses. failures: a line each.
    """

    def __init__(self, failures: Iterable[str] = ()):
        self.known: list[tuple[str, Decoded]] = []
        self.others: list[tuple[str, Decoded]] = []
        self.failures = list(failures)
        self.notes: Counter = Counter()

    def add(self, path: str, decoded: Decoded, reference: Optional[str], errors: Iterable[str]) -> None:
        self.failures += errors
        self.notes.update(hypothesis.note for hypothesis in decoded.hypotheses.values() if hypothesis.note)
        if reference is not None:
            hypotheses = {label: replace(best, alternatives=()) for label, best in decoded.hypotheses.items()}
            self.known.append((path, replace(decoded, hypotheses=hypotheses)))
        elif decoded.seconds:
            self.others.append((path, replace(decoded, hypotheses={}, failures={})))

    def tell(self, inputs: Inputs, references: Optional[References]) -> None:
        """Counts in the log, and the name of every recording that lacks a reference."""
        for note, count in self.notes.items():
            logging.info("%d results: %s", count, note)
        for why, count in inputs.left_out.items():
            logging.info(
                "%d files were %s%s", count, why, ", and are not scored" if references and why == "done before" else ""
            )
        if references is None:
            return
        for line in references.missing:
            logging.warning("no reference: %s", shown(line))
        logging.info(
            "%d recordings are scored, %d have no reference; %d references are of no recording here",
            len(self.known),
            len(references.missing),
            references.unused(),
        )

    def scores(self, labels: Sequence[str], watch: Stopwatch) -> str:
        """decode.py's table of error rates and times, "" where nothing is scored. Where a method failed on a recording
        it counts as no words; what could not be read does not count."""
        if not self.known:
            return ""
        audio = sum(decoded.seconds for _, decoded in (*self.known, *self.others))
        return table(
            {label: score(decoded.texts(label) for _, decoded in self.known) for label in labels},
            audio,
            {name: [watch.seconds[name]] for name in ("encoder", *labels)},
        )
