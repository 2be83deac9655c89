"""Audio files to samples: whatever libsndfile reads, to mono float32 at one rate."""

from __future__ import annotations

import re
from math import gcd
from pathlib import Path

import numpy as np
import soundfile

SAMPLING_RATE = 16000
BLOCK = 1 << 20  # samples decoded at a time
# Programs that write a WAV to a pipe cannot know its length and state one near these limits instead.
STREAMED_LENGTH = 0x7FFFF000
# What libsndfile states where a FLAC header leaves the length open.
UNKNOWN_LENGTH = 2**63 - 1


def decode_audio(path: str | Path) -> tuple[np.ndarray, int]:
    """Every sample of a file: float32 (N, channels), integers scaled to [-1, 1], and its sampling rate in Hz.

    Raises ValueError, naming the file, where it is missing, not audio, empty, damaged, shorter than its
    header states, or holds samples that are not finite. (The length in an MP3 header is an estimate and not
    held against it.)
    """
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such file")
    try:
        file = soundfile.SoundFile(str(path))
    except soundfile.SoundFileError as error:
        raise ValueError(f"{path}: not an audio file that libsndfile reads ({_reason(error)})") from None
    with file:
        if file.frames == UNKNOWN_LENGTH:
            raise ValueError(f"{path}: its header does not state its length: decode and encode it anew")
        samples = _decode(file, path)
        missing = _missing_bytes(file.extra_info)
        if not len(samples):
            raise ValueError(f"{path}: empty: no samples")
        if len(samples) < file.frames and file.format != "MP3":
            raise ValueError(f"{path}: truncated: {len(samples)} samples of the {file.frames} in its header")
        if missing:
            raise ValueError(f"{path}: truncated: {missing} bytes of its samples are missing")
        bad = int(np.count_nonzero(~np.isfinite(samples)))
        if bad:
            raise ValueError(f"{path}: {bad} of {samples.size} samples are not finite numbers")
        return samples, file.samplerate


def read_audio(path: str | Path, sampling_rate: int = SAMPLING_RATE) -> np.ndarray:
    """A file as mono float32 (N,) at `sampling_rate` Hz, channels averaged. Raises as `decode_audio` does."""
    samples, rate = decode_audio(path)
    return resample(samples.mean(axis=1), rate, sampling_rate)


def resample(samples: np.ndarray, rate: int, target_rate: int) -> np.ndarray:
    """Samples (N,) at `rate` Hz to float32 at `target_rate` Hz, by an anti-aliasing polyphase filter."""
    if rate < 1 or target_rate < 1:
        raise ValueError(f"cannot resample from {rate} to {target_rate} Hz: rates are at least 1")
    if rate == target_rate:
        return samples.astype(np.float32, copy=False)
    from scipy.signal import resample_poly

    divisor = gcd(rate, target_rate)
    return resample_poly(samples, target_rate // divisor, rate // divisor).astype(np.float32)


def _decode(file: soundfile.SoundFile, path: str | Path) -> np.ndarray:
    blocks = []
    try:
        while True:  # by blocks: what the header states may be far more than there is
            blocks.append(file.read(BLOCK, dtype="float32", always_2d=True))
            if len(blocks[-1]) == 0:
                return np.concatenate(blocks)
    except soundfile.SoundFileError as error:
        raise ValueError(f"{path}: truncated or damaged: the {file.frames} samples in its header do not "
                         f"decode ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    return (getattr(error, "error_string", "") or str(error)).strip().rstrip(".") or "no reason given"


def _missing_bytes(log: str) -> int:
    """Bytes that a WAV header promises and the file lacks: libsndfile says so in its log alone."""
    found = re.search(r"^data : (\d+) \(should be (\d+)\)", log, re.MULTILINE)
    if not found:
        return 0
    stated, present = map(int, found.groups())
    return max(0, stated - present) if stated < STREAMED_LENGTH else 0
