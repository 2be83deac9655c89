"""The progress of transcribe.py: files done, and how much faster than real time."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence

from tqdm import tqdm

from hainan_k2.files.text_tables import printable
from hainan_k2.inference.decoded import Decoded
from hainan_k2.inference.inputs import Input

logger = logging.getLogger(__name__)


class Progress:
    """A context that shows a bar on a terminal, else logs a line per file; failures are always shown.

    At its end it logs the number of files, their seconds and the speed.
    """

    def __enter__(self) -> Progress:
        self.bar = tqdm(file=sys.stderr, disable=not sys.stderr.isatty(), leave=False, unit=" files")
        self.started, self.count, self.seconds = time.monotonic(), 0, 0.0
        return self

    def show(self, source: Input, decoded: Decoded, errors: Sequence[str]) -> None:
        """Count a file that is done."""
        self.count += 1
        self.seconds += decoded.seconds
        self.bar.update()
        self.bar.set_postfix_str(f"{self.speed():.0f} x real time")
        for error in errors:
            tqdm.write(f"failed: {printable(error)}", file=sys.stderr)
        if decoded.hypotheses and not errors and self.bar.disable:
            words = ", ".join(str(len(hypothesis.words)) for hypothesis in decoded.hypotheses.values())
            logger.info("%s: %.1f s, %s words", printable(source.path), decoded.seconds, words)

    def speed(self) -> float:
        """Seconds of audio per second."""
        return self.seconds / max(1e-9, time.monotonic() - self.started)

    def __exit__(self, *error: object) -> None:
        self.bar.close()
        logger.info(
            "%d files, %.1f s of audio in %.1f s (%.1f x real time)",
            self.count,
            self.seconds,
            time.monotonic() - self.started,
            self.speed(),
        )
