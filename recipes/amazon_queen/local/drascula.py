"""Reads speech and texts of the game Drascula: The Vampire Strikes Back, English version.

A line of speech is a file NAME.ALS: a header of 32 bytes, then unsigned 8-bit samples at 11,025 Hz. Its text is in
drascula.dat. For each character this file has a table of texts per language, English first, in the order of CHARACTERS.
A table is a big-endian count, the size of the table in bytes, two more bytes, then the texts. A text has its length in
front (2 bytes, themselves included) and zeros after it. Line 7 in the table of BJ belongs to BJ7.ALS.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

RATE = 11_025
HEADER = 32  # bytes before the samples
MAGIC = b"DRASCULA"
# {prefix of the file names: (speaker, number of texts in the table)}, in the order of drascula.dat.
CHARACTERS = {
    "": ("hacker", 501),
    "D": ("drascula", 84),
    "B": ("bartender", 15),
    "BJ": ("blonde", 29),
    "E": ("evaristo", 24),
    "I": ("igor", 33),
    "L": ("wolf", 32),
    "P": ("pianist", 20),
    "T": ("drunk", 25),
    "VB": ("braun", 63),
}


@dataclass(frozen=True)
class SpokenLine:
    """A line of speech: its sound file and its text."""

    speaker: str
    name: str
    text: str
    path: Path


def table(data: bytes, at: int, count: int) -> list[str] | None:
    """The texts of the table at byte `at`, or None if no table of `count` texts begins there."""
    if struct.unpack_from(">H", data, at)[0] != count:
        return None
    at, texts = at + 6, []
    for _ in range(count):
        size = int.from_bytes(data[at : at + 2], "big")
        text = data[at + 2 : at + size].rstrip(b"\0")
        if size < 4 or at + size > len(data) or min(text, default=32) < 32:
            return None
        texts.append(text.decode("latin1"))
        at += size
    return texts


def tables(path: Path) -> dict[str, list[str]]:
    """The English texts by prefix. ValueError if the file is not drascula.dat or lacks a table."""
    data = path.read_bytes()
    if not data.startswith(MAGIC):
        raise ValueError(f"{path} is not drascula.dat: it begins with {data[:8]!r}, not {MAGIC!r}")
    texts_by_prefix, at = {}, len(MAGIC)
    for prefix, (speaker, count) in CHARACTERS.items():
        while at + 6 < len(data) and (texts := table(data, at, count)) is None:
            at += 1
        if at + 6 >= len(data):
            raise ValueError(f"{path} has no table of {count} texts for {speaker}")
        texts_by_prefix[prefix] = texts
        at += 1
    return texts_by_prefix


def lines(folder: Path) -> Iterator[SpokenLine]:
    """Every text that has a sound file, in the order of the tables."""
    for prefix, texts in tables(folder / "drascula.dat").items():
        for number, text in enumerate(texts):
            path = folder / f"{prefix}{number}.ALS"
            if text and path.is_file():
                yield SpokenLine(CHARACTERS[prefix][0], f"{prefix.lower()}{number}", text, path)


def samples(path: Path) -> np.ndarray:
    """The samples of a sound file: (N,) float32 in [-1, 1), 11,025 Hz."""
    return np.frombuffer(path.read_bytes()[HEADER:], np.uint8).astype(np.float32) / 128 - 1
