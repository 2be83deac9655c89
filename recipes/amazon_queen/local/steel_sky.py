"""Reads speech from sky.dnr and sky.dsk, the data files of the game Beneath a Steel Sky (CD version).

sky.dnr begins with a little-endian number of entries. An entry has 8 bytes: a number (2 bytes), an offset in sky.dsk
(23 bits, and a bit that is set if it counts paragraphs of 16 bytes) and a size (22 bits and two flags). Entries 50000
to 59999 are lines of speech: a header of 22 bytes, then unsigned 8-bit samples at 11,025 Hz, packed or not. The files
also have the texts, but only the game's program knows which text belongs to which sound.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from propack import MAGIC, unpack

RATE = 11_025
HEADER = 22  # bytes before the samples
PARAGRAPH = 16  # bytes
SPEECH = range(50_000, 60_000)


class SteelSky:
    """The lines of speech of the game. ValueError if a file is missing or sky.dnr is truncated."""

    def __init__(self, folder: Path):
        self._index, self._disk = folder / "sky.dnr", folder / "sky.dsk"
        if not (self._index.is_file() and self._disk.is_file()):
            raise ValueError(f"{folder} lacks sky.dnr or sky.dsk")
        index = self._index.read_bytes()
        count = int.from_bytes(index[:4], "little")
        if len(index) < 4 + 8 * count:
            raise ValueError(f"{self._index} is truncated: {len(index)} bytes are too few for {count} entries")
        self._locations: dict[int, tuple[int, int]] = {}
        for at in range(4, 4 + 8 * count, 8):
            number, start, size = (
                int.from_bytes(index[at + a : at + b], "little") for a, b in ((0, 2), (2, 5), (5, 8))
            )
            paragraphs, start = start >> 23, start & 0x7FFFFF
            if number in SPEECH:
                self._locations[number] = (start * PARAGRAPH if paragraphs else start, size & 0x3FFFFF)

    @property
    def numbers(self) -> list[int]:
        """The sorted numbers of the lines."""
        return sorted(self._locations)

    def samples(self, number: int) -> np.ndarray:
        """The samples of a line: (N,) float32 in [-1, 1), 11,025 Hz. ValueError if the entry is damaged."""
        start, size = self._locations[number]
        with open(self._disk, "rb") as disk:
            disk.seek(start)
            data = disk.read(size)
        if len(data) < max(size, HEADER):
            raise ValueError(f"{self._disk} is truncated: entry {number} is incomplete")
        data = data[HEADER:]
        if data.startswith(MAGIC):
            try:
                data = unpack(data)
            except ValueError as error:
                raise ValueError(f"{self._disk}, entry {number}: {error}") from None
        return np.frombuffer(data, np.uint8).astype(np.float32) / 128 - 1
