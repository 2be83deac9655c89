"""Sound and its picture as data URIs."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import soundfile

from hainan_k2.frames import FEATURE_FRAME_SHIFT
from hainan_k2.frontend.audio import SAMPLING_RATE
from hainan_k2.frontend.fbank import fbank
from hainan_k2.frontend.samples import to_waveform

TILE = 2000  # columns of a picture, 20 s: browsers limit how wide one may be
RANGE = 14.0  # natural log of power that the greys span: 61 dB
GREYS = 16
BLOCK = SAMPLING_RATE * 10  # samples given to the encoder at a time


def data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def sound_uri(samples: np.ndarray) -> str:
    """Mono samples (N,) at 16 kHz in the smallest format that libsndfile writes here: Opus, 4 kB a second, or FLAC."""
    stream = io.BytesIO()
    opus = "OPUS" in soundfile.available_subtypes("OGG")
    form = {"format": "OGG", "subtype": "OPUS"} if opus else {"format": "FLAC", "subtype": "PCM_16"}
    with soundfile.SoundFile(stream, "w", SAMPLING_RATE, 1, **form) as file:
        for start in range(0, len(samples), BLOCK):
            file.write(np.clip(samples[start : start + BLOCK], -1.0, 1.0))
    return data_uri("audio/ogg" if opus else "audio/flac", stream.getvalue())


def spectrogram(samples: np.ndarray) -> Iterator[tuple[str, float]]:
    """Log mel energies of samples (N,) at 16 kHz, the louder the darker, as PNGs side by side: (data URI, seconds).

    Raises ValueError where there are less than 25 ms.
    """
    energies = fbank(to_waveform(samples)).numpy()  # (T, F)
    high = float(energies.max())
    low = max(high - RANGE, float(np.percentile(energies, 5)))
    loudness = np.clip((energies - low) / max(high - low, 1e-3), 0.0, 1.0)
    steps = np.round(loudness * (GREYS - 1)) / (GREYS - 1)
    levels = np.round(255 * (1 - steps)).astype(np.uint8).T[::-1]  # (F, T), low frequencies at the bottom
    for start in range(0, levels.shape[1], TILE):
        tile = levels[:, start : start + TILE]
        yield data_uri("image/png", grey_png(tile)), tile.shape[1] * FEATURE_FRAME_SHIFT


def grey_png(levels: np.ndarray) -> bytes:
    """A PNG of grey levels (height, width), uint8, 0 black (PNG specification, sections 5 and 11)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = levels.shape
    rows = np.pad(levels, ((0, 0), (1, 0))).tobytes()  # a 0 before every row: not filtered
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows, 9)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
