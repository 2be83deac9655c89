"""One recording in every container and encoding that libsndfile writes, and some that programs write to pipes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from tests.data.corpus import babble

# Encodings that libsndfile reads and does not write.
UNWRITTEN = {("AIFF", "DWVW_12"), ("MP3", "MPEG_LAYER_I"), ("MP3", "MPEG_LAYER_II"), ("WAV", "MPEG_LAYER_III")}
KINDS = [
    (container, encoding)
    for container in soundfile.available_formats()
    if container != "RAW"
    for encoding in soundfile.available_subtypes(container)
    if (container, encoding) not in UNWRITTEN
]
NAMES = [f"{container}-{encoding}" for container, encoding in KINDS]
# Containers whose header states no length (XI: as libsndfile writes it): truncation is not detected.
UNTOLD = ("PAF", "PVF", "IRCAM", "XI", "SD2")


def write(folder: Path, container: str, encoding: str, seconds: float = 2.0) -> tuple[Path, np.ndarray]:
    """A file named by its container and encoding, and its samples (N,): 16 kHz, for telephone encodings 8 kHz."""
    rate = 8000 if container == "WVE" or encoding.startswith(("G7", "NMS")) else 16000
    samples = babble(int(seconds * rate), seed=1)
    path = folder / f"{container}-{encoding}.{container.lower()}"
    soundfile.write(path, samples, rate, subtype=encoding, format=container)
    return path, samples


def write_all(folder: Path, seconds: float) -> list[Path]:
    """`write` of every kind, an MP3 without a Xing header and a FLAC without a number of samples."""
    paths = [write(folder, *kind, seconds)[0] for kind in KINDS]
    for path, change in (("MP3-MPEG_LAYER_III.mp3", without_xing), ("FLAC-PCM_16.flac", without_length)):
        paths.append(folder / f"open-{path}")
        paths[-1].write_bytes(change((folder / path).read_bytes()))
    return paths


def without_xing(content: bytes) -> bytes:
    """An MP3 without its first frame, which holds the number of its frames."""
    return content[content.index(content[:2], 4) :]


def without_length(content: bytes) -> bytes:
    """A FLAC whose 36 bits for the number of samples in STREAMINFO are 0."""
    return content[:21] + bytes([content[21] & 0xF0, 0, 0, 0, 0]) + content[26:]


def ogg_pages(content: bytes) -> list[bytes]:
    """An Ogg file, page by page."""
    pages = []
    while content:
        size = 27 + content[26] + sum(content[27 : 27 + content[26]])
        pages.append(content[:size])
        content = content[size:]
    return pages


def u32(value, order="little"):
    return value.to_bytes(4, order)


def frame(header, size):
    return bytes.fromhex(header).ljust(size, b"\0")
