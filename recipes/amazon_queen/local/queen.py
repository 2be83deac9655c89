"""Reads speech and texts from `queen.1c`, the data file of the game Flight of the Amazon Queen (talkie version).

The file begins with the magic QTBL and a version. At byte 13 it has a big-endian number of entries; each has 21 bytes:
a name of 12 bytes, a byte of flags, offset and size. An entry NAME.SB is the sound of one part of a line, in a format
that libsndfile reads. Texts are in the dialogues (*.DOG, named after the character that the hero, JOE, talks to), in
the cut scenes (*.CUT, without speakers) and in QUEEN2.JAS, a list of JOE's remarks.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ENTRY = struct.Struct(">12sxII")
HEADER = 20  # bytes before the fields of a *.DOG or *.CUT entry
DIALOGUE = 32  # offset of a dialogue's choices, after its fields
CHOICES = 96  # bytes of each level of choices
HERO, CUTAWAY = "JOE", "CUT"
FIRST_REMARK = 41  # JOE0041 is the first line of QUEEN2.JAS


@dataclass(frozen=True)
class Line:
    """A text and the name of its sound."""

    name: str  # of the sound entry, without .SB
    text: str
    speaker: str  # CUT if unknown
    source: str  # name of the entry with the text, without its extension


class Queen:
    """The entries of `queen.1c`. ValueError if the file has another format."""

    def __init__(self, path: Path):
        self._data = path.read_bytes()
        if self._data[:4] != b"QTBL":
            raise ValueError(f"{path} is not queen.1c: it begins with {self._data[:4]!r}, not b'QTBL'")
        count = int.from_bytes(self._data[13:15], "big")
        if len(self._data) < 15 + count * ENTRY.size:
            raise ValueError(f"{path} is truncated: {len(self._data)} bytes are too few for {count} entries")
        self._entries = {}
        for name, offset, size in ENTRY.iter_unpack(self._data[15 : 15 + count * ENTRY.size]):
            self._entries[name.split(b"\0")[0].decode("latin1")] = (offset, size)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def read(self, name: str) -> bytes:
        """The bytes of an entry."""
        offset, size = self._entries[name]
        return self._data[offset : offset + size]

    def names(self, ending: str) -> list[str]:
        """The sorted names of the entries with this ending, without the ending."""
        return sorted(name[: -len(ending)] for name in self._entries if name.endswith(ending))

    def texts(self) -> Iterator[Line]:
        """Every line with a text, recorded or not."""
        for source in self.names(".DOG"):
            yield from _split(_dialogue(_Block(self.read(source + ".DOG")[HEADER:]), source), source)
        for source in self.names(".CUT"):
            yield from _split(_cutaway(_Block(self.read(source + ".CUT")[HEADER:]), source), source)
        if "QUEEN2.JAS" in self:
            remarks = self.read("QUEEN2.JAS").decode("latin1").replace("\r\n", "\n").split("\n")
            lines = ((f"JOE{i:04d}", text, HERO) for i, text in enumerate(remarks, start=FIRST_REMARK))
            yield from _split(lines, "QUEEN2")


class _Block:
    """Reader of big-endian 16-bit numbers and of strings with a length byte in front."""

    def __init__(self, data: bytes):
        self.data = data

    def number(self, at: int) -> int:
        """The signed number at an offset."""
        return struct.unpack_from(">h", self.data, at)[0]

    def string(self, at: int, align: int) -> tuple[str, int]:
        """The string at an offset, and the offset after it, rounded up to a multiple of `align` unless it is empty."""
        start, length = at + 1, self.data[at]
        text = self.data[start : start + length].decode("latin1")
        return text, -(-(start + length) // align) * align if length else start


def _dialogue(block: _Block, source: str) -> Iterator[tuple[str, str, str]]:
    """(sound name without its last digit, text, speaker) of a dialogue."""
    key, person = block.number(4), re.sub(r"\d+$", "", source)
    hero = DIALOGUE + abs(block.number(0)) * CHOICES
    sides = ((hero, block.number(6), "J", HERO), (block.number(22) & 0xFFFF, block.number(8), "P", person))
    for at, count, side, speaker in sides:
        for _ in range(count):
            text, after = block.string(at + 4, 4)
            yield f"{key:02d}{block.number(at + 2) & 0xFFFF:04X}{side}", text, speaker
            at = after
    if block.number(hero + 2) == 0:
        yield f"{key:02d}SSSSJ", block.string(hero + 4, 2)[0], HERO
    farewell, after = block.string(block.number(26) & 0xFFFF, 2)
    yield f"{key:02d}XXXXP", farewell, person
    yield f"{key:02d}XXXXJ", block.string(after, 2)[0], HERO


def _cutaway(block: _Block, source: str) -> Iterator[tuple[str, str, str]]:
    """(sound name without its last digit, text, CUT) of a cut scene."""
    stem = f"{source}_____"[:5] if len(source) < 5 else source
    _, at = block.string(block.number(8) & 0xFFFF, 2)
    for i in range(1, abs(block.number(2)) + 1):
        if at >= len(block.data):
            return
        text, at = block.string(at, 2)
        if text != "*" and not text.startswith("#"):
            yield f"{stem}{i:02d}", text, CUTAWAY


def _split(lines: Iterator[tuple[str, str, str]], source: str) -> Iterator[Line]:
    """Split lines at animation marks (*NN, or *XY and 11 characters): each part has its own sound."""
    for stem, text, speaker in lines:
        for i, piece in enumerate(re.split(r"\*(?:XY.{11}|.{2})", text, flags=re.DOTALL), start=1):
            if piece.strip():
                yield Line(f"{stem}{i:X}".replace(" ", "0").upper(), piece.strip(), speaker, source)
