"""Speech and its text in the game Drascula: The Vampire Strikes Back, English version.

A spoken line is a file NAME.ALS: 32 bytes of header, then unsigned samples of 8 bits at 11,025 Hz. Its text is in
drascula.dat, which holds for every language a table of texts per character, English first: a big-endian count, a length
of the table in bytes, two bytes, then the texts, each with its length (2 bytes, itself included) before it and zeros
after it. The tables come in the order of CHARACTERS; line 7 of the table of BJ is BJ7.ALS.
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
# Prefix of the files' names and how many texts the table has, in the file's order.
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
class Spoken:
    speaker: str
    name: str
    text: str
    path: Path


def table(data: bytes, at: int, count: int) -> list[str] | None:
    """The `count` texts of the table that begins at byte `at`, or None where no such table begins."""
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
    """The English texts by prefix. ValueError if the file is none or lacks a table."""
    data = path.read_bytes()
    if not data.startswith(MAGIC):
        raise ValueError(f"{path} is no drascula.dat: it begins with {data[:8]!r}, not {MAGIC!r}")
    found, at = {}, len(MAGIC)
    for prefix, (speaker, count) in CHARACTERS.items():
        while at + 6 < len(data) and (texts := table(data, at, count)) is None:
            at += 1
        if at + 6 >= len(data):
            raise ValueError(f"{path} has no table of {count} texts for {speaker}")
        found[prefix] = texts
        at += 1
    return found


def lines(folder: Path) -> Iterator[Spoken]:
    """Every text that has a sound, in the order of the tables."""
    for prefix, texts in tables(folder / "drascula.dat").items():
        for number, text in enumerate(texts):
            path = folder / f"{prefix}{number}.ALS"
            if text and path.is_file():
                yield Spoken(CHARACTERS[prefix][0], f"{prefix.lower()}{number}", text, path)


def samples(path: Path) -> np.ndarray:
    """(N,) float32 in [-1, 1) at 11,025 Hz."""
    return np.frombuffer(path.read_bytes()[HEADER:], np.uint8).astype(np.float32) / 128 - 1
