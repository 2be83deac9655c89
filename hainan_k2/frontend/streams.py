"""Pages of Ogg and frames of MPEG audio, counted: these streams do not state their length in bytes."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import BinaryIO, Optional

SEARCHED = 1 << 12  # bytes read at a time to find where a stream continues after damage


@dataclass(frozen=True)
class Extent:
    """How many parts of a recording its container states, and how many are in the file.

    Args:
      present: parts in the file.
      stated: parts that the container states; infinite where more must follow, but not how many.
      unit: what is counted: bytes of samples, pages or frames.
      per_second: parts per second; 0 where the header does not state it.
    """

    present: int
    stated: float
    unit: str
    per_second: float = 0.0


def ogg_extent(file: BinaryIO, at: int) -> Extent:
    """Pages of an Ogg file from byte `at` on; stated are those up to the page marked as the last (RFC 3533, section 6).

    `stated` is infinite where no page is marked or the last page is cut off. It is less than `present` where the file
    contains several recordings, of which libsndfile reads the first.
    """
    size, pages, first, begun = file.seek(0, 2), 0, 0, set()
    while at < size:
        file.seek(at)
        head = file.read(27)
        if head[:4] != b"OggS":
            at = next(_places(file, at + 1, b"OggS", 4), size)
            continue
        if len(head) < 27:
            break
        end = at + 27 + head[26] + sum(file.read(head[26]))
        if end > size:
            break
        at, pages, (flags, serial) = end, pages + 1, struct.unpack("<B8xI", head[5:18])
        if flags & 2:
            begun.add(serial)
        if flags & 4:
            begun.discard(serial)
            if not begun:
                first = first or pages
    return Extent(pages, inf if begun or not first else first, "pages")


# kbit/s by version 1 or 2 and layer, for the indices 1 to 14.
BITRATES = {
    (1, 1): range(32, 449, 32),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
BITRATES[2, 3] = BITRATES[2, 2]
KIND = 0xFFFE0C00  # bits of a frame's header equal in all frames of a stream: version, layer, sampling rate


def mpeg_extent(file: BinaryIO, at: int) -> Optional[Extent]:
    """Frames of an MP3 file (or of layer I or II) from byte `at` on; stated are those of its Xing, Info or VBRI header.

    Without such a header `stated` is `present`, or infinite where the last frame is cut off. A number that is off by
    one is accepted, since encoders differ on whether the header's own frame counts. `stated` is less than `present`
    where the file contains several recordings, of which libsndfile reads the first.

    Returns None where no frame is complete, or the first frame has a free bit rate and so an unknown size.
    """
    size, frames, cut = file.seek(0, 2), 0, False
    file.seek(at)
    first = file.read(200)
    kind, stated = int.from_bytes(first[:4], "big") & KIND, _stated_frames(first)
    length, per_second = _frame(int.from_bytes(first[:4], "big"))
    if not length:
        return None
    while at < size:
        file.seek(at)
        first = file.read(4)
        head = int.from_bytes(first, "big")
        length, _ = _frame(head)
        if len(first) < 4 and first[0] == 0xFF:
            cut, at = True, size
        elif not length or head & KIND != kind:
            at = _next_frame(file, at + 1, size, kind)
        elif at + length > size:
            cut, at = True, size
        else:
            at, frames = at + length, frames + 1
    if not frames:
        return None
    if stated is None:
        return Extent(frames, inf if cut else frames, "frames", per_second)
    frames -= 1  # the header has a frame of its own
    as_stated = -1 <= stated - frames <= (0 if cut else 1)
    return Extent(frames, frames if as_stated else stated, "frames", per_second)


def _stated_frames(frame: bytes) -> Optional[int]:
    """The number of frames in the Xing, Info or VBRI header, which is inside the first frame of an MP3."""
    at = max(frame.find(b"Xing", 4, 44), frame.find(b"Info", 4, 44))
    if at > 0 and len(frame) >= at + 12 and frame[at + 7] & 1:
        return int.from_bytes(frame[at + 8 : at + 12], "big") or None
    if frame[36:40] == b"VBRI":
        return int.from_bytes(frame[50:54], "big") or None
    return None


@lru_cache(maxsize=1024)
def _frame(head: int) -> tuple[int, float]:
    """The size in bytes of the frame with this header of 32 bits, and such frames per second.

    Zeros where this is not the header of a frame, or has a free bit rate.
    """
    version, layer = (0, 0, 2, 1)[head >> 19 & 3] or 2.5, 4 - (head >> 17 & 3)
    bitrate, rate = head >> 12 & 15, head >> 10 & 3
    if head >> 21 != 0x7FF or head >> 19 & 3 == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return 0, 0.0
    hertz = (44100, 48000, 32000)[rate] // {1: 1, 2: 2, 2.5: 4}[version]
    bits = 1000 * BITRATES[1 if version == 1 else 2, layer][bitrate - 1]
    slot, slots = (4, 12) if layer == 1 else (1, 72 if layer == 3 and version != 1 else 144)
    return slot * (slots * bits // hertz + (head >> 9 & 1)), hertz / (8 * slot * slots)


def _next_frame(file: BinaryIO, at: int, size: int, kind: int) -> int:
    """The position of the next complete frame of a stream (`kind`), `size` where there is none.

    Another frame or the end of the file must follow the frame. Tags and damaged bytes are skipped.
    """
    pattern = b"\xff[%s][%s]." % tuple(
        b"".join(b"\\x%02x" % byte for byte in range(256) if byte & KIND >> shift & 255 == kind >> shift & 255)
        for shift in (16, 8)
    )
    for place in _places(file, at, pattern, 4):
        end = place + _frame_bytes(file, place)
        if place < end <= size and (end == size or _frame_bytes(file, end)):
            return place
    return size


def _frame_bytes(file: BinaryIO, at: int) -> int:
    file.seek(at)
    return _frame(int.from_bytes(file.read(4), "big"))[0]


def _places(file: BinaryIO, at: int, pattern: bytes, width: int) -> Iterator[int]:
    """The positions of a pattern of `width` bytes in a file, from byte `at` on."""
    expression, held = re.compile(b"(?=%s)" % pattern, re.DOTALL), b""
    while True:
        file.seek(at + len(held))
        block = file.read(SEARCHED)
        if not block:
            return
        held += block
        for match in expression.finditer(held):
            yield at + match.start()
        kept = held[max(0, len(held) - width + 1) :]
        at, held = at + len(held) - len(kept), kept
