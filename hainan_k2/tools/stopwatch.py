"""Where a step's time goes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Seconds by section. With `synchronise`, a section ends when the GPU has finished what it began."""

    def __init__(self, synchronise: bool = False):
        self.synchronise = synchronise and torch.cuda.is_available()
        self.seconds: dict[str, float] = defaultdict(float)

    def now(self) -> float:
        if self.synchronise:
            torch.cuda.synchronize()
        return time.perf_counter()

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        start = self.now()
        yield
        self.seconds[name] += self.now() - start

    def table(self) -> str:
        """A line per section: name, seconds, share of the whole."""
        whole = sum(self.seconds.values()) or 1.0
        return "\n".join(f"{name:16s} {seconds:9.2f} s {100 * seconds / whole:6.1f} %"
                         for name, seconds in self.seconds.items())
