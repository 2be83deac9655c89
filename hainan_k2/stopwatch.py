"""Where the time of a program goes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Seconds by section. With `synchronise`, a section ends when the GPU has finished what it began.

    A section within another counts for itself alone: its seconds are not the outer section's as well, so that the
    sections add up to no more than the time since the watch was made.
    """

    def __init__(self, synchronise: bool = False):
        self.synchronise = synchronise and torch.cuda.is_available()
        self.seconds: dict[str, float] = defaultdict(float)
        self.started, self.cpu_started = self.now(), time.process_time()
        self._inner = 0.0  # seconds of the sections that ended within the one under way

    def now(self) -> float:
        if self.synchronise:
            torch.cuda.synchronize()
        return time.perf_counter()

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        start, before = self.now(), self._inner
        self._inner = 0.0
        try:
            yield
        finally:
            whole = self.now() - start
            self.seconds[name] += whole - self._inner
            self._inner = before + whole

    def table(self) -> str:
        """A line per section, longest first: name, seconds, share of the time since the watch was made. What no section
        covers is "other"; the last lines are the whole and the CPU seconds of this process in it."""
        whole = self.now() - self.started
        sections = {**self.seconds, "other": max(0.0, whole - sum(self.seconds.values()))}
        ordered = sorted(sections.items(), key=lambda item: -item[1])
        lines = [f"{name:18s} {seconds:9.2f} s {100 * seconds / whole:6.1f} %" for name, seconds in ordered]
        cpu = time.process_time() - self.cpu_started
        return "\n".join([*lines, f"{'whole':18s} {whole:9.2f} s", f"{'CPU time':18s} {cpu:9.2f} s"])
