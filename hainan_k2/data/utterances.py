"""Utterances of a corpus before they are cuts: their audio and texts, and why some are left out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from lhotse.supervision import AlignmentItem


@dataclass(frozen=True)
class Audio:
    """A recording: a file or, with `command`, what this shell command writes, which is then stored as `path`."""

    id: str
    path: Path
    command: str = ""


@dataclass(frozen=True)
class Utterance:
    """A part of a recording and its transcript.

    Args:
      start, end: seconds in the recording; an `end` of None is the recording's.
      source: the file or file:line that it comes from, for messages.
      alignment: the times of its words, if known, in seconds from its start.
      channel: of the recording; None: the only one.
    """

    id: str
    audio: Audio
    text: str
    speaker: str = ""
    source: str = ""
    start: float = 0.0
    end: Optional[float] = None
    language: Optional[str] = None
    alignment: tuple[AlignmentItem, ...] = ()
    channel: Optional[int] = None

    @property
    def where(self) -> str:
        """Where it comes from, for messages."""
        return self.source or str(self.audio.path)


@dataclass(frozen=True)
class Problem:
    """Why an utterance is left out: a kind of problem ("empty transcript"), the file or file:line, and the details."""

    kind: str
    where: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.detail}"


Corpus = tuple[list[Utterance], list[Problem]]  # what a reader returns: those that are left, and why others are not


def name_of(path: Path, base: Path) -> str:
    """The id of an audio file without one: its path below `base`, or its whole path, without ending and spaces.

    >>> name_of(Path("/data/train/joe/a 1.wav"), Path("/data"))
    'train-joe-a_1'
    """
    path = path.absolute()
    if base.absolute() in path.parents:
        path = path.relative_to(base.absolute())
    return "_".join("-".join(part for part in path.with_suffix("").parts if part != path.anchor).split())


def part_name(name: str, start: float, end: Optional[float]) -> str:
    """The id of a part of the recording `name`: NAME-START-END in milliseconds, NAME where it is the whole."""
    if not start and end is None:
        return name
    return f"{name}-{round(1000 * start):07d}" + ("" if end is None else f"-{round(1000 * end):07d}")


def seconds_of(value: object, what: str, where: str) -> float:
    """A number of seconds from a file, at least 0. Raises ValueError with `where` for anything else."""
    try:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise ValueError
        seconds = float(value)
        if not 0 <= seconds < 1e7:
            raise ValueError
    except (ValueError, OverflowError):
        raise ValueError(f"{where}: {what} is {str(value)[:40]!r}, not a number of seconds") from None
    return seconds


def unique(entries: Iterable[tuple[str, str, str]]) -> dict[str, tuple[str, str]]:
    """(TEXT, FILE:LINE) by key, of (KEY, TEXT, FILE:LINE). Raises ValueError where a key occurs twice."""
    by_key: dict[str, tuple[str, str]] = {}
    for key, text, where in entries:
        if key in by_key:
            raise ValueError(f"{where}: {key} a second time, after {by_key[key][1]}")
        by_key[key] = text, where
    return by_key
