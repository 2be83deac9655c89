"""How much audio a container states, and how much of it is in the file, to detect truncated files.

libsndfile reads a truncated file as if it were a shorter one. The header of each container below states where its
samples end, or the last page or frame of a stream is marked; `extent` compares that with the size of the file.

Truncation is not detected in PAF, PVF, IRCAM and SD2, which state no length; where a program that writes to a pipe
leaves the size open; and where MP3 without a Xing, Info or VBRI header, or FLAC without a number of samples, is cut
exactly between two frames. FLAC with a number of samples is checked when it is decoded.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from math import inf
from typing import Any, BinaryIO, Optional

from hainan_k2.frontend.content import Source, open_source
from hainan_k2.frontend.streams import Extent, mpeg_extent, ogg_extent

MAX_CHUNKS = 100_000  # before the samples: a file with more of them is damaged


def extent(path: Source) -> Optional[Extent]:
    """The parts (bytes, pages, frames) that the container states and those in the file; None where it states no length.

    Reads headers only, in Ogg and MP3 those of all pages and frames; memory does not grow with the file. Raises
    ValueError where the file cannot be read or has more than MAX_CHUNKS chunks.
    """
    try:
        with open_source(path) as file:
            header = _Header(file)
            first = header.read(0, 12)
            if first.startswith(b"\xff"):
                return mpeg_extent(file, header.start)
            if first.startswith(b"OggS"):
                return ogg_extent(file, header.start)
            reader = next((reader for magic, reader in READERS.items() if first.startswith(magic)), None)
            stated = reader(header) if reader else None
            return stated.extent_in(header.size) if stated else None
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except struct.error:  # the header ends before it states a length: libsndfile refuses that
        return None
    except _TooManyChunks:
        raise ValueError(f"{path}: over {MAX_CHUNKS} chunks before its samples: damaged") from None


class _TooManyChunks(Exception):
    """There are more than MAX_CHUNKS chunks before the samples."""


@dataclass(frozen=True)
class SampleBytes:
    """Where a header states that the samples are: `size` bytes from byte `start` on.

    `per_second` is the number of bytes per second, 0 where the header does not state it simply.
    """

    start: int
    size: int
    per_second: float = 0.0

    def extent_in(self, size: int) -> Extent:
        """The stated samples, and those in a container of `size` bytes."""
        return Extent(max(0, min(self.size, size - self.start)), self.size, "bytes of samples", self.per_second)


class _Header:
    """The bytes of a file after its ID3v2 tags: `size` bytes from `start` on."""

    def __init__(self, file: BinaryIO):
        self.file, self.start = file, 0
        self.size = file.seek(0, 2)
        while self.read(0, 3) == b"ID3":
            digits = self.read(6, 4)
            tag = 10 + sum((digit & 127) << 7 * (3 - i) for i, digit in enumerate(digits))
            self.start, self.size = self.start + tag, self.size - tag

    def read(self, at: int, count: int) -> bytes:
        """`count` bytes from byte `at` on, or fewer where the file ends."""
        if not 0 <= at < self.size:
            return b""
        self.file.seek(self.start + at)
        return self.file.read(count)

    def unpack(self, at: int, layout: str) -> tuple[Any, ...]:
        """The values of a struct layout at byte `at`; struct.error where the file ends before."""
        return struct.unpack(layout, self.read(at, struct.calcsize(layout)))

    def chunk(self, at: int, wanted: bytes, layout: str, align: int = 2, counted: int = 0) -> SampleBytes:
        """The body of the first chunk named `wanted`.

        A chunk is a head, of its name and size (`layout`), and a body. The size includes `counted` bytes of the head;
        chunks start at multiples of `align`.
        """
        for _ in range(MAX_CHUNKS):
            name, size = self.unpack(at, layout)
            body, size = at + struct.calcsize(layout), size - counted
            if name[:4] == wanted:
                return SampleBytes(body, size)
            at = body + max(0, size)
            at += -at % align
        raise _TooManyChunks


def _open_size(size: int) -> bool:
    """Whether a size of 32 bits is a placeholder of a program that writes to a pipe.

    sox writes 0x7FFFF000 or 0x7F000000, rounded to whole samples, arecord 0x80000000, ffmpeg 0xFFFFFFFF, others 0.
    """
    return not size or 0x7EFFF000 <= size <= 0x80000000 or size >= 0xFFFFF000


def _riff(header: _Header) -> Optional[SampleBytes]:
    order = ">" if header.read(0, 4) == b"RIFX" else "<"
    data = header.chunk(12, b"data", order + "4sI")
    return None if _open_size(data.size) else data


def _rf64(header: _Header) -> Optional[SampleBytes]:
    (size,) = header.unpack(header.chunk(12, b"ds64", "<4sI").start + 8, "<Q")
    data = header.chunk(12, b"data", "<4sI")
    return SampleBytes(data.start, size) if 0 < size < 2**62 else None


def _w64(header: _Header) -> Optional[SampleBytes]:
    data = header.chunk(40, b"data", "<16sQ", align=8, counted=24)
    return data if 0 < data.size < 2**62 else None


def _caf(header: _Header) -> Optional[SampleBytes]:
    rate, size, samples = header.unpack(20, ">d8xII")  # bytes and samples of a packet
    data = header.chunk(8, b"data", ">4sq", align=1)  # the first 4 bytes count edits
    per_second = rate * size / samples if samples and 0 < rate < inf else 0.0
    return SampleBytes(data.start + 4, data.size - 4, per_second) if data.size > 0 else None


def _form(header: _Header) -> Optional[SampleBytes]:
    """AIFF and AIFC, whose samples follow an offset and a block size; 8SVX and 16SV."""
    svx = header.read(8, 4) in (b"8SVX", b"16SV")
    data = header.chunk(12, b"BODY" if svx else b"SSND", ">4sI")
    before = 0 if svx else 8
    return None if _open_size(data.size) else SampleBytes(data.start + before, data.size - before)


def _au(header: _Header) -> Optional[SampleBytes]:
    order = ">" if header.read(0, 4) == b".snd" else "<"
    data = SampleBytes(*header.unpack(4, order + "II"))
    return None if _open_size(data.size) else data


def _nist(header: _Header) -> Optional[SampleBytes]:
    text = header.read(0, 1024)
    start = re.match(rb"NIST_1A\n *(\d{1,9})\n", text)
    fields = [
        re.search(rb"^%s -(?:i|s\d+) (\d{1,12})\s" % name, text, re.MULTILINE)
        for name in (b"sample_count", b"channel_count", b"sample_n_bytes")
    ]
    if not start or not all(fields):
        return None
    count, channels, width = (int(field[1]) for field in fields if field)
    return SampleBytes(int(start[1]), count * channels * width)


def _voc(header: _Header) -> SampleBytes:
    """The first block of samples (type 1 or 9), the only one that libsndfile reads.

    A size of 24 bits is too short for blocks over 16 MB; libsndfile writes its low 24 bits, so such a file has more
    bytes than it states.
    """
    (at,) = header.unpack(20, "<H")
    for _ in range(MAX_CHUNKS):
        kind, low, high = header.unpack(at, "<BHB")
        block = SampleBytes(at + 4, low + (high << 16))
        if kind in (1, 9):
            return block
        at = block.start + block.size
    raise _TooManyChunks


def _avr(header: _Header) -> SampleBytes:
    stereo, bits, frames = header.unpack(12, ">HH10xI")
    return SampleBytes(128, frames * (2 if stereo else 1) * bits // 8)


def _mpc2k(header: _Header) -> SampleBytes:
    stereo, frames = header.unpack(21, "<B8xI")
    return SampleBytes(42, frames * (4 if stereo else 2))


def _wve(header: _Header) -> SampleBytes:
    return SampleBytes(32, header.unpack(18, ">I")[0])


def _xi(header: _Header) -> Optional[SampleBytes]:
    count, size = header.unpack(296, "<HI")
    return SampleBytes(298 + 40 * count, size) if size else None  # as libsndfile writes XI files


def _sds(header: _Header) -> SampleBytes:
    bits, *digits = header.unpack(6, "<7B")  # 7 bits per byte
    nanoseconds, count = (low + (middle << 7) + (high << 14) for low, middle, high in (digits[:3], digits[3:]))
    per_packet = max(1, 120 // max(1, (bits + 6) // 7))  # of 127 bytes
    return SampleBytes(21, -(-count // per_packet) * 127, 1e9 / max(1, nanoseconds) / per_packet * 127)


def _mat4(header: _Header) -> SampleBytes:
    """Two matrices, the sampling rate and the samples."""
    order, at = ">" if header.read(0, 4) == b"\0\0\x03\xe8" else "<", 0
    for _ in range(2):
        kind, rows, columns, _, name = header.unpack(at, order + "5I")
        start, size = at + 20 + name, rows * columns * (8, 4, 4, 2, 2, 1, 1, 1, 1, 1)[kind // 10 % 10]
        at = start + size
    return SampleBytes(start, size)


def _mat5(header: _Header) -> SampleBytes:
    """Two matrices, the sampling rate and the samples.

    A tag of 8 bytes, the last 4 of which are a size, precedes every matrix and its flags (8 bytes), dimensions (8),
    name and values.
    """
    size = ("<" if header.read(126, 2) == b"IM" else ">") + "4xI"
    matrix = 136 + header.unpack(128, size)[0]
    (name,) = header.unpack(matrix + 40, size)
    values = matrix + 48 + name + -name % 8
    return SampleBytes(values + 8, header.unpack(values, size)[0])


# The first bytes of a container, and the function that reads its header.
READERS = {
    b"RIFF": _riff,
    b"RIFX": _riff,
    b"RF64": _rf64,
    b"riff": _w64,
    b"caff": _caf,
    b"FORM": _form,
    b".snd": _au,
    b"dns.": _au,
    b"NIST_1A": _nist,
    b"Creative Voi": _voc,
    b"2BIT": _avr,
    b"\x01\x04": _mpc2k,
    b"ALawSoundFil": _wve,
    b"Extended Ins": _xi,
    b"\xf0\x7e": _sds,
    b"MATLAB 5": _mat5,
    b"\0\0\x03\xe8\0\0\0\1\0\0\0\1": _mat4,
    b"\0\0\0\0\1\0\0\0\1\0\0\0": _mat4,
}
