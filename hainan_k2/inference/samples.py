"""What a recogniser is given, files and arrays, as samples in batches, and what became of each input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from math import inf
from pathlib import Path
from typing import Optional, Union

import numpy as np

from hainan_k2.frontend.audio import BLOCK, SAMPLING_RATE, audio_blocks, resample_blocks
from hainan_k2.frontend.samples import MIN_SAMPLES
from hainan_k2.result import Hypothesis

Audio = Union[str, Path, np.ndarray]
Samples = Union[None, np.ndarray, Iterator[np.ndarray]]  # of an input: unreadable, all of them, or block after block


@dataclass(frozen=True)
class Result:
    """What became of one input: its hypothesis, or why there is none. `seconds` is its length, 0 where unreadable."""

    name: str
    seconds: float = 0.0
    hypothesis: Optional[Hypothesis] = None
    failure: str = ""


def read_each(
    audio: Iterable[Union[Audio, Result]], sampling_rate: int, longest: int
) -> Iterator[tuple[Result, Samples]]:
    """Every input, still without a hypothesis, and its samples: in blocks, read as they are asked for, where they are
    more than `longest`. The seconds of such a result are not known yet. A Result, which has failed before, keeps its
    place."""
    for number, item in enumerate(audio):
        if isinstance(item, Result):
            yield item, None
            continue
        name = f"array {number}" if isinstance(item, np.ndarray) else str(item)
        try:
            samples = read_samples(item, name, sampling_rate, longest)
        except (ValueError, OSError) as error:
            yield Result(name, failure=failure_of(name, error)), None
        else:
            yield Result(name, len(samples) / SAMPLING_RATE if isinstance(samples, np.ndarray) else 0.0), samples


def failure_of(name: str, error: Exception) -> str:
    """An error in reading the input `name`, in one line that names it."""
    if isinstance(error, OSError):
        return f"{name}: {error.strerror or error}"
    return str(error)


def batches(inputs: Iterable[tuple[Result, Samples]], max_duration: float) -> Iterator[list]:
    """Consecutive inputs in lists whose length times their longest is at most `max_duration` seconds, where they are
    more than one; what comes in blocks, of unknown length, is one by itself. A list that is full is given without
    waiting for the next input."""
    batch, longest = [], 0.0
    for result, samples in inputs:
        seconds = inf if isinstance(samples, Iterator) else result.seconds
        if batch and max(longest, seconds) * (len(batch) + 1) > max_duration:
            yield batch
            batch, longest = [], 0.0
        batch.append((result, samples))
        longest = max(longest, seconds)
        if longest >= max_duration:
            yield batch
            batch, longest = [], 0.0
    if batch:
        yield batch


def read_samples(audio: Audio, name: str, sampling_rate: int, longest: int) -> Union[np.ndarray, Iterator[np.ndarray]]:
    """A file, or an array at `sampling_rate`, as mono float32 (N,) at 16 kHz; in blocks where N is above `longest`.

    ValueError or OSError says what is wrong with it; what is wrong with a file after its first `longest` samples is
    said when they are read.
    """
    blocks = _mono(audio, name, sampling_rate) if isinstance(audio, np.ndarray) else audio_blocks(audio)
    begun, size = [], 0
    for block in blocks:
        begun.append(block)
        size += len(block)
        if size > longest:
            return chain(begun, blocks)
    if size < MIN_SAMPLES:
        raise ValueError(
            f"{name}: {1000 * size / SAMPLING_RATE:.1f} ms of audio ({size} samples at {SAMPLING_RATE} "
            f"Hz): at least 25 ms ({MIN_SAMPLES}) are needed"
        )
    return np.concatenate(begun)


def _mono(array: np.ndarray, name: str, rate: int) -> Iterator[np.ndarray]:
    if array.ndim not in (1, 2) or not array.size or array.dtype.kind not in "fi":
        raise ValueError(
            f"{name}: {array.dtype} of shape {array.shape}: samples are floats or signed integers, "
            "(N,) or (N, channels)"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: {np.count_nonzero(~np.isfinite(array))} of {array.size} samples are not finite")
    full = -float(np.iinfo(array.dtype).min) if array.dtype.kind == "i" else 1.0
    parts = (array[i : i + BLOCK] / full for i in range(0, len(array), BLOCK))
    mono = (part if part.ndim == 1 else part.mean(axis=1) for part in parts)
    return resample_blocks((part.astype(np.float32) for part in mono), rate, SAMPLING_RATE)
