"""Delay Ctrl-C until an update or a checkpoint is complete."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_interrupts() -> Iterator[list[int]]:
    """A context that SIGINT does not interrupt: the list that it gives has the signals that arrived inside.

    Only the main thread gets signals; in other threads the context does nothing.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    try:
        yield received
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """A context that SIGINT does not interrupt: a signal that arrives inside is raised again at its end.

    Training could not resume exactly from half an update, or from an update that is not counted.
    """
    received: list[int] = []
    try:
        with held_interrupts() as received:
            yield
    finally:
        if received:
            signal.raise_signal(signal.SIGINT)
