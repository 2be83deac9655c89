"""What fails on one utterance and must not cost the others, in the log: a line each time, and of errors that point at a
mistake in the program the traceback, once per kind."""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from pathlib import Path

EXPECTED = (ValueError, MemoryError)  # what the input or the machine is to blame for

logger = logging.getLogger(__name__)


class FailureLog:
    """Counts errors by kind: their type and the line of code that raised them."""

    def __init__(self):
        self.counts: Counter[tuple[str, str, int]] = Counter()

    def report(self, level: int, message: str, error: Exception) -> str:
        """Logs "MESSAGE: REASON" and returns the reason; for an unexpected error also its place and how many of its
        kind there have been, for the first of a kind the traceback."""
        why = reason(error)
        if isinstance(error, EXPECTED):
            logger.log(level, "%s: %s", message, why)
            return why
        frame = traceback.extract_tb(error.__traceback__)[-1]
        kind = (type(error).__name__, frame.filename, frame.lineno or 0)
        self.counts[kind] += 1
        count = self.counts[kind]
        logger.log(
            level,
            "%s: %s (%s:%d, no. %d of this kind)",
            message,
            why,
            Path(frame.filename).name,
            kind[2],
            count,
            exc_info=error if count == 1 else None,
        )
        return why


def reason(error: Exception) -> str:
    """An error in one line: its kind and the first line of what it says."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
