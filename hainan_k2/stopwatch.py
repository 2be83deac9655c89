"""Time of the sections of a program."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Seconds by section. With `synchronise`, the end of a section waits for the GPU.

    The seconds of a section inside another do not count for the outer one, so the sections add up to at most the time
    since the stopwatch was made.

    >>> watch = Stopwatch()
    >>> with watch.section("sum"):
    ...     total = sum(range(1000))
    >>> watch.seconds["sum"] > 0
    True
    """

    def __init__(self, synchronise: bool = False):
        self.synchronise = synchronise and torch.cuda.is_available()
        self.seconds: dict[str, float] = defaultdict(float)
        self.started, self.cpu_started = self.now(), time.process_time()
        self._inner = 0.0  # seconds of the sections inside the current one

    def now(self) -> float:
        """Seconds of a clock whose zero is arbitrary."""
        if self.synchronise:
            torch.cuda.synchronize()
        return time.perf_counter()

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """A context whose time is added to the section `name`."""
        start, before = self.now(), self._inner
        self._inner = 0.0
        try:
            yield
        finally:
            total = self.now() - start
            self.seconds[name] += total - self._inner
            self._inner = before + total

    def table(self) -> str:
        """A table of the sections, longest first: name, seconds, percentage of the time since the stopwatch was made.
        "other" is the time outside sections; the last lines are the total and the CPU time of this process."""
        total = self.now() - self.started
        sections = {**self.seconds, "other": max(0.0, total - sum(self.seconds.values()))}
        ordered = sorted(sections.items(), key=lambda item: -item[1])
        lines = [f"{name:18s} {seconds:9.2f} s {100 * seconds / total:6.1f} %" for name, seconds in ordered]
        cpu = time.process_time() - self.cpu_started
        return "\n".join([*lines, f"{'total':18s} {total:9.2f} s", f"{'CPU time':18s} {cpu:9.2f} s"])
