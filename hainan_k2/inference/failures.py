"""FailureLog: errors of single utterances, reported without a flood of tracebacks."""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from pathlib import Path

EXPECTED = (ValueError, MemoryError)  # caused by the input or the machine, not by a mistake in the program

logger = logging.getLogger(__name__)


class FailureLog:
    """Logs errors and counts them by kind: their type and the line of code that raised them.

    Every error is one line in the log. The first unexpected error of a kind, which points at a mistake in the program,
    has its traceback as well.
    """

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str, int]] = Counter()

    def report(self, level: int, message: str, error: Exception) -> str:
        """Log "MESSAGE: REASON" and return the reason. For an unexpected error the line also has the place in the code
        and how many errors of its kind there have been."""
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
    """An error in one line: its type and the first line of its message."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
