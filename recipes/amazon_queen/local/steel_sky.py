"""Speech in sky.dnr and sky.dsk, the data files of the game Beneath a Steel Sky (CD version).

sky.dnr begins with a little-endian count of entries of 8 bytes: a number (2 bytes), a place in sky.dsk (23 bits and one
that says that it counts paragraphs of 16 bytes) and a size (22 bits and two flags). Entries from 50000 to 59999 are
lines of speech: a header of 22 bytes, then unsigned samples of 8 bits at 11,025 Hz, packed or not. Their texts are in
the game, but which text belongs to which sound is known to its program only.
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
    """The spoken lines of the game. ValueError if the folder has no such files or sky.dnr is cut off."""

    def __init__(self, folder: Path):
        self._index, self._disk = folder / "sky.dnr", folder / "sky.dsk"
        if not (self._index.is_file() and self._disk.is_file()):
            raise ValueError(f"{folder} lacks sky.dnr or sky.dsk")
        index = self._index.read_bytes()
        count = int.from_bytes(index[:4], "little")
        if len(index) < 4 + 8 * count:
            raise ValueError(f"{self._index} is cut off: {len(index)} bytes do not hold {count} entries")
        self._places: dict[int, tuple[int, int]] = {}
        for at in range(4, 4 + 8 * count, 8):
            number, start, size = (
                int.from_bytes(index[at + a : at + b], "little") for a, b in ((0, 2), (2, 5), (5, 8))
            )
            paragraphs, start = start >> 23, start & 0x7FFFFF
            if number in SPEECH:
                self._places[number] = (start * PARAGRAPH if paragraphs else start, size & 0x3FFFFF)

    @property
    def numbers(self) -> list[int]:
        return sorted(self._places)

    def samples(self, number: int) -> np.ndarray:
        """(N,) float32 in [-1, 1) at 11,025 Hz. ValueError, naming the entry, if it is damaged."""
        start, size = self._places[number]
        with open(self._disk, "rb") as disk:
            disk.seek(start)
            data = disk.read(size)
        if len(data) < max(size, HEADER):
            raise ValueError(f"{self._disk} is cut off before entry {number}")
        data = data[HEADER:]
        if data.startswith(MAGIC):
            try:
                data = unpack(data)
            except ValueError as error:
                raise ValueError(f"{self._disk}, entry {number}: {error}") from None
        return np.frombuffer(data, np.uint8).astype(np.float32) / 128 - 1
