"""Audio files to samples: whatever libsndfile reads, to mono float32 at one rate."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from math import ceil, gcd
from pathlib import Path

import numpy as np
import soundfile

SAMPLING_RATE = 16000
# How names of audio files end, of the formats that libsndfile reads.
ENDINGS = tuple(".aif .aifc .aiff .au .caf .flac .mp3 .nist .oga .ogg .opus .rf64 .snd .sph .voc .w64 .wav".split())
BLOCK = 1 << 20  # samples decoded at a time, those of all channels
MIN_RATE, MAX_RATE = 4000, 768000  # Hz: a header that states anything else is damaged, and costly to believe
LOUDEST = 2.0**31  # whole numbers written as floats, at most; a larger one is damage, and sums of it overflow
# Programs that write a WAV to a pipe cannot know its length and state one near these limits instead.
STREAMED_LENGTH = 0x7FFFF000
# What libsndfile states where a FLAC header leaves the length open.
UNKNOWN_LENGTH = 2**63 - 1
REACH = 10  # periods of the lower rate that scipy's resampling filter spans to either side


def is_audio_name(name: str) -> bool:
    """Whether a file of that name should be audio that libsndfile reads."""
    return name.lower().endswith(ENDINGS)


def decode_audio(path: str | Path) -> tuple[np.ndarray, int]:
    """Every sample of a file: float32 (N, channels), integers scaled to [-1, 1], and its sampling rate in Hz.

    Raises ValueError, naming the file, where it is missing, not audio, empty, damaged, shorter than its
    header states, or holds samples that are not finite or absurdly large. (The length in an MP3 header is an
    estimate and not held against it.)
    """
    with _open(path) as file:
        return np.concatenate(list(_decode(file, path))), file.samplerate


def read_audio(path: str | Path, sampling_rate: int = SAMPLING_RATE) -> np.ndarray:
    """A file as mono float32 (N,) at `sampling_rate` Hz, channels averaged. Raises as `decode_audio` does."""
    return np.concatenate(list(audio_blocks(path, sampling_rate)))


def audio_blocks(path: str | Path, sampling_rate: int = SAMPLING_RATE) -> Iterator[np.ndarray]:
    """`read_audio` block after block, each (N,), in memory that does not grow with the length of the file.

    Raises as `decode_audio` does: on what is wrong with a header before the first block, on damage where it comes to
    it.
    """
    with _open(path) as file:
        mono = (block.mean(axis=1) for block in _decode(file, path))
        yield from resample_blocks(mono, file.samplerate, sampling_rate)


class Counted:
    """Blocks of samples as they go by, and how many `samples` were in those that have gone."""

    def __init__(self, blocks: Iterable[np.ndarray]):
        self.blocks, self.samples = blocks, 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self.blocks:
            self.samples += len(block)
            yield block


def resample(samples: np.ndarray, rate: int, target_rate: int) -> np.ndarray:
    """Samples (N,) at `rate` Hz to float32 at `target_rate` Hz, by an anti-aliasing polyphase filter."""
    if rate < 1 or target_rate < 1:
        raise ValueError(f"cannot resample from {rate} to {target_rate} Hz: rates are at least 1")
    if rate == target_rate:
        return samples.astype(np.float32, copy=False)
    from scipy.signal import resample_poly

    divisor = gcd(rate, target_rate)
    return resample_poly(samples, target_rate // divisor, rate // divisor).astype(np.float32)


def resample_blocks(blocks: Iterable[np.ndarray], rate: int, target_rate: int) -> Iterator[np.ndarray]:
    """`resample` of all blocks (N,) joined, again in blocks.

    Every block is resampled with as many samples on both sides as the filter reaches, which are cut off again. Cuts
    lie at whole periods of the two rates, where an output sample falls on an input sample.
    """
    if rate == target_rate:
        yield from blocks
        return
    divisor = gcd(rate, target_rate)
    up, down = target_rate // divisor, rate // divisor
    margin = down * ceil((REACH * max(1.0, down / up) + 1) / down)
    held, past = np.zeros(0, dtype=np.float32), 0  # `past` of the samples held are out already
    for block in blocks:
        held = np.concatenate([held, block])
        ready = past + (len(held) - past - margin) // down * down
        if ready > past:
            yield resample(held[: ready + margin], rate, target_rate)[past * up // down : ready * up // down]
            start = max(0, ready - margin)
            held, past = held[start:], ready - start
    yield resample(held, rate, target_rate)[past * up // down :]


def _open(path: str | Path) -> soundfile.SoundFile:
    """The file, its header checked."""
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such file")
    try:
        file = soundfile.SoundFile(os.fsencode(path))  # bytes: a name need not be UTF-8
    except soundfile.SoundFileError as error:
        raise ValueError(f"{path}: not an audio file that libsndfile reads ({_reason(error)})") from None
    except TypeError:  # what soundfile says to *.raw
        raise ValueError(f"{path}: raw samples: nothing says their rate and format") from None
    problem, missing = "", _missing_bytes(file.extra_info)
    if file.frames == UNKNOWN_LENGTH:
        problem = "its header does not state its length: decode and encode it anew"
    elif not MIN_RATE <= file.samplerate <= MAX_RATE:
        problem = f"its sampling rate of {file.samplerate} Hz is not one of {MIN_RATE} to {MAX_RATE} Hz"
    elif missing:
        problem = f"truncated: {missing} bytes of its samples are missing"
    if problem:
        file.close()
        raise ValueError(f"{path}: {problem}")
    return file


def _decode(file: soundfile.SoundFile, path: str | Path) -> Iterator[np.ndarray]:
    """The samples of a file in blocks (N, channels): what its header states may be far more than there is."""
    count = 0
    while True:
        try:
            block = file.read(max(1, BLOCK // file.channels), dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise ValueError(f"{path}: truncated or damaged: the {file.frames} samples in its header do not "
                             f"decode ({_reason(error)})") from None
        if not len(block):
            break
        count += len(block)
        bad = int(np.count_nonzero(~(np.abs(block) <= LOUDEST)))
        if bad:
            raise ValueError(f"{path}: {bad} of {block.size} samples are not finite, or beyond 2^31")
        yield block
    if not count:
        raise ValueError(f"{path}: empty: no samples")
    if count < file.frames and file.format != "MP3":
        raise ValueError(f"{path}: truncated: {count} samples of the {file.frames} in its header")


def _reason(error: Exception) -> str:
    return (getattr(error, "error_string", "") or str(error)).strip().rstrip(".") or "no reason given"


def _missing_bytes(log: str) -> int:
    """Bytes that a WAV header promises and the file lacks: libsndfile says so in its log alone."""
    found = re.search(r"^data : (\d+) \(should be (\d+)\)", log, re.MULTILINE)
    if not found:
        return 0
    stated, present = map(int, found.groups())
    return max(0, stated - present) if stated < STREAMED_LENGTH else 0
