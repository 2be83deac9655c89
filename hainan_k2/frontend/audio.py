"""Audio files of every format that libsndfile reads, as mono float32 samples at one sampling rate."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache
from math import ceil, inf
from pathlib import Path
from typing import Optional

import numpy as np
import soundfile

from hainan_k2.frontend.containers import extent
from hainan_k2.frontend.content import AudioContent, Source
from hainan_k2.frontend.streams import Extent

SAMPLING_RATE = 16000
# Suffixes of audio files in the formats that libsndfile reads.
ENDINGS = tuple(".aif .aifc .aiff .au .caf .flac .mp3 .nist .oga .ogg .opus .rf64 .snd .sph .voc .w64 .wav".split())
BLOCK = 1 << 20  # samples decoded at a time, all channels together
MIN_RATE, MAX_RATE = 4000, 384000  # Hz; a header with another rate is taken as damaged
LOUDEST = 2.0**31  # the largest of integer samples stored as floats; sums of larger ones could overflow
UNKNOWN_LENGTH = 2**63 - 1  # libsndfile's number of frames where a FLAC header does not state the length
REACH = 10  # periods of the lower rate that the resampling filter spans on either side
LONGEST_PERIOD = 48000  # upper limit of the input samples after which the filter's phases repeat


def is_audio_name(name: str) -> bool:
    """Whether the suffix is that of an audio format that libsndfile reads."""
    return name.lower().endswith(ENDINGS)


def decode_audio(path: Source) -> tuple[np.ndarray, int]:
    """All samples of a file, float32 (N, channels) with integers scaled to [-1, 1], and its sampling rate in Hz.

    Raises:
      ValueError: naming the file, where it is missing, empty, damaged, or truncated as far as its format tells
        (hainan_k2.frontend.containers); where it is not audio (UnknownFormat), or contains several recordings; for a
        sampling rate outside of MIN_RATE to MAX_RATE; for samples that are not finite or beyond LOUDEST.
    """
    with _open(path) as file:
        return np.concatenate(list(_decode(file, path))), file.samplerate


def read_audio(path: Source, sampling_rate: int = SAMPLING_RATE) -> np.ndarray:
    """A file as mono float32 (N,) at `sampling_rate` Hz, its channels averaged. Raises as `decode_audio` does.

    >>> read_audio("tests/data/jfk.flac").shape
    (176000,)
    """
    return np.concatenate(list(audio_blocks(path, sampling_rate)))


def audio_blocks(path: Source, sampling_rate: int = SAMPLING_RATE) -> Iterator[np.ndarray]:
    """The samples of `read_audio` in blocks (N,), in memory that does not grow with the length of the file.

    Raises as `decode_audio` does: for a bad header before the first block, for damaged samples at their block.
    """
    with _open(path) as file:
        mono = (block.mean(axis=1) for block in _decode(file, path))
        yield from resample_blocks(mono, file.samplerate, sampling_rate)


def stated_seconds(path: Source) -> float:
    """The length of a file by its header, in seconds; 0 where it cannot be read."""
    try:
        with _open(path) as file:
            return file.seconds
    except (ValueError, OSError):
        return 0.0


class Counted:
    """An iterable of blocks (N,) that counts, in `samples`, the samples of the blocks taken so far."""

    def __init__(self, blocks: Iterable[np.ndarray]):
        self.blocks, self.samples = blocks, 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self.blocks:
            self.samples += len(block)
            yield block


def resample(samples: np.ndarray, rate: int, target_rate: int) -> np.ndarray:
    """Samples (N,) at `rate` Hz to float32 (ceil(N * `ratio`),) at `target_rate` Hz, by a polyphase low-pass filter.

    Raises ValueError for a rate below 1 Hz.
    """
    if rate < 1 or target_rate < 1:
        raise ValueError(f"cannot resample from {rate} to {target_rate} Hz: rates are at least 1")
    if rate == target_rate:
        return samples.astype(np.float32, copy=False)
    from scipy.signal import resample_poly

    up, down = ratio(rate, target_rate)
    window = _filter(max(up, down)).astype(np.result_type(samples, np.float32))
    return resample_poly(samples, up, down, window=window).astype(np.float32)


def ratio(rate: int, target_rate: int) -> tuple[int, int]:
    """`target_rate` / `rate` as a fraction (numerator, denominator).

    The filter is 20 times as long as the denominator, which is therefore limited to LONGEST_PERIOD. The fraction is
    exact for every rate up to that many Hz and for all common rates above; otherwise it is the nearest one, which
    changes the length of an hour by less than 0.1 s.
    """
    fraction = Fraction(target_rate, rate).limit_denominator(LONGEST_PERIOD)
    return fraction.numerator, fraction.denominator


@lru_cache(maxsize=4)
def _filter(period: int) -> np.ndarray:
    """The default low-pass filter of `scipy.signal.resample_poly`, designed once for all blocks."""
    from scipy.signal import firwin

    return firwin(2 * REACH * period + 1, 1.0 / period, window=("kaiser", 5.0))


def resample_blocks(blocks: Iterable[np.ndarray], rate: int, target_rate: int) -> Iterator[np.ndarray]:
    """The samples of `resample` of the joined blocks (N,), again in blocks.

    Every block is resampled with as many samples on both sides as the filter spans; the output of these is cut off.
    Cuts are at whole periods of the two rates, where an output sample coincides with an input sample.
    """
    if rate == target_rate:
        yield from blocks
        return
    up, down = ratio(rate, target_rate)
    margin = down * ceil((REACH * max(1.0, down / up) + 1) / down)
    held, past = np.zeros(0, dtype=np.float32), 0  # the first `past` of the held samples have been resampled
    for block in blocks:
        held = np.concatenate([held, block])
        ready = past + (len(held) - past - margin) // down * down
        if ready > past:
            yield resample(held[: ready + margin], rate, target_rate)[past * up // down : ready * up // down]
            start = max(0, ready - margin)
            held, past = held[start:], ready - start
    yield resample(held, rate, target_rate)[past * up // down :]


class UnknownFormat(ValueError):
    """A file is not of a format that libsndfile reads."""


class _Recording(soundfile.SoundFile):
    """A file that is read from start to end without seeking.

    soundfile seeks after every block of a seekable file; some codecs (DWVW) refuse that, others (MP3) are not exact.
    """

    def seekable(self) -> bool:
        return False

    @property
    def seconds(self) -> float:
        return self.frames / self.samplerate


def _open(path: Source) -> _Recording:
    """An open file whose header has been checked; ValueError as `decode_audio` raises it."""
    if not isinstance(path, AudioContent) and not Path(path).is_file():
        raise ValueError(f"{path}: no such file")
    length = extent(path)
    try:
        if isinstance(path, AudioContent):
            path.file.seek(0)
            file = _Recording(path.file)
        else:
            file = _Recording(os.fsencode(path))  # bytes: a name need not be UTF-8
    except soundfile.SoundFileError as error:
        problem = _wrong_length(length)
        if problem:
            raise ValueError(f"{path}: {problem}") from None
        raise UnknownFormat(f"{path}: not an audio file that libsndfile reads ({_reason(error)})") from None
    except TypeError:  # soundfile's error for *.raw
        raise ValueError(f"{path}: raw samples: nothing says their rate and format") from None
    problem = _wrong_length(length, file)
    if not MIN_RATE <= file.samplerate <= MAX_RATE:
        problem = f"its sampling rate of {file.samplerate} Hz is not one of {MIN_RATE} to {MAX_RATE} Hz"
    if problem:
        file.close()
        raise ValueError(f"{path}: {problem}")
    return file


def _wrong_length(length: Optional[Extent], file: Optional[_Recording] = None) -> str:
    """An error message where a file is longer or shorter than its container states, else "".

    `file` is None where libsndfile cannot read the file at all.
    """
    if not length or length.present == length.stated:
        return ""
    if length.present > length.stated:
        return (
            f"several recordings in one file ({length.stated} of {length.present} {length.unit} are of the first): "
            "split them, or join them with ffmpeg or sox"
        )
    seconds = file.seconds if file else 0.0  # of the samples in the file, unless libsndfile takes the header's length
    if length.per_second:
        seconds = length.present / length.per_second
    if length.stated == inf:
        shown, parts = f"{seconds:.2f} s", f"{length.present} {length.unit} are whole and the last one is missing"
    else:
        whole = seconds * length.stated / max(1, length.present)
        shown, parts = f"{seconds:.2f} of {whole:.2f} s", f"{length.present} of {length.stated} {length.unit} are there"
    shown = f"{shown}, {parts}" if seconds and length.present else parts
    return f"truncated: {shown}: copy it again, or keep the samples that are there by converting it with ffmpeg or sox"


def _decode(file: _Recording, path: Source) -> Iterator[np.ndarray]:
    """The samples of a file in blocks (N, channels), since a header may state far more samples than the file has."""
    count = 0
    while True:
        try:
            block = file.read(max(1, BLOCK // file.channels), dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            stated = f"the {file.seconds:.2f} s in its header" if file.frames < UNKNOWN_LENGTH else "its samples"
            raise ValueError(f"{path}: truncated or damaged: {stated} do not all decode ({_reason(error)})") from None
        if not len(block):
            break
        count += len(block)
        bad = int(np.count_nonzero(~(np.abs(block) <= LOUDEST)))
        if bad:
            raise ValueError(f"{path}: {bad} of {block.size} samples are not finite, or beyond 2^31")
        yield block
    if not count:
        raise ValueError(f"{path}: empty: no samples")
    if count < file.frames < UNKNOWN_LENGTH and file.format != "MP3":  # MP3's length may be an estimate
        raise ValueError(
            f"{path}: truncated or damaged: {count / file.samplerate:.2f} of the {file.seconds:.2f} s in "
            "its header decode"
        )


def _reason(error: Exception) -> str:
    return (getattr(error, "error_string", "") or str(error)).strip().rstrip(".") or "no reason given"
