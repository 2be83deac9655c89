"""Samples of a stream: bare 16-bit PCM at 16 kHz, mono."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

PIECE = 3200  # bytes read at a time at most: 0.1 s
BEGIN = 12  # bytes that identify a format
CONTAINERS = (  # format, its mark, and at which byte; bare PCM holds a mark by chance once in 2^32 streams
    ("WAV", b"RIFF", 0),
    ("WAV", b"RIFX", 0),
    ("WAV", b"RF64", 0),
    ("W64", b"riff", 0),
    ("FLAC", b"fLaC", 0),
    ("Ogg", b"OggS", 0),
    ("MP3", b"ID3\x02", 0),
    ("MP3", b"ID3\x03", 0),
    ("MP3", b"ID3\x04", 0),
    ("AIFF", b"FORM", 0),
    ("AU", b".snd", 0),
    ("CAF", b"caff", 0),
    ("NIST SPHERE", b"NIST_1A", 0),
    ("VOC", b"Creative Voi", 0),
    ("MPEG-4", b"ftyp", 4),
    ("Matroska or WebM", b"\x1aE\xdf\xa3", 0),
    ("AMR", b"#!AMR", 0),
    ("WavPack", b"wvpk", 0),
    ("ASF", b"0&\xb2u", 0),
)


class ByteStream(Protocol):
    """Bytes that arrive over time, such as standard input."""

    def read1(self, size: int, /) -> bytes:
        """Up to `size` bytes as soon as there are any; none at the end."""
        ...


def container(begin: bytes) -> str:
    """The format of a file that begins with these 12 bytes; "" where it is unknown."""
    for name, mark, position in CONTAINERS:
        if begin[position : position + len(mark)] == mark:
            return name
    return ""


def pcm_blocks(stream: ByteStream, source: str = "standard input") -> Iterator[np.ndarray]:
    """Read 16-bit little-endian PCM as it arrives: float32 blocks (N,) in [-1, 1).

    Raises ValueError, which names the `source`, if the stream ends within a sample, or begins like a file of another
    format.
    """
    odd, begin = b"", b""
    while len(begin) < BEGIN:
        content = stream.read1(BEGIN - len(begin))
        if not content:
            break
        begin += content
    name = container(begin)
    if name:
        raise ValueError(
            f"{source} is a {name} file: a stream is bare 16-bit PCM, mono, 16 kHz, as from arecord -t raw or "
            "ffmpeg -i FILE -f s16le -ac 1 -ar 16000 -"
        )
    content = begin
    while content:
        content = odd + content
        whole = len(content) // 2 * 2
        odd = content[whole:]
        if whole:
            yield np.frombuffer(content[:whole], "<i2").astype(np.float32) / 32768
        content = stream.read1(PIECE)
    if odd:
        raise ValueError(f"{source} ends within a sample: a stream is 16-bit PCM, two bytes for each")
