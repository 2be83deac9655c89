"""Inputs of the recognizer, files and arrays, as batches of mono 16 kHz samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from math import inf
from pathlib import Path
from typing import Union

import numpy as np

from hainan_k2.frontend.audio import BLOCK, SAMPLING_RATE, audio_blocks, resample_blocks
from hainan_k2.frontend.samples import MIN_SAMPLES
from hainan_k2.result import Transcription

Audio = Union[str, Path, np.ndarray]
Samples = Union[None, np.ndarray, Iterator[np.ndarray]]  # of an input: none (unreadable), all, or block after block
Input = tuple[Transcription, Samples]


def read_each(audio: Iterable[Union[Audio, Transcription]], sampling_rate: int, longest: int) -> Iterator[Input]:
    """Read every input: a Transcription without a hypothesis, and its samples.

    An input of more than `longest` samples is read in blocks, when they are asked for; its seconds are not known yet.
    A Transcription among the inputs has failed already and stays at its place.
    """
    for number, item in enumerate(audio):
        if isinstance(item, Transcription):
            yield item, None
            continue
        name = f"array {number}" if isinstance(item, np.ndarray) else str(item)
        try:
            samples = read_samples(item, name, sampling_rate, longest)
        except (ValueError, OSError) as error:
            yield Transcription(name, failure=failure_of(name, error)), None
        else:
            seconds = len(samples) / SAMPLING_RATE if isinstance(samples, np.ndarray) else 0.0
            yield Transcription(name, seconds), samples


def failure_of(name: str, error: Exception) -> str:
    """An error in reading the input `name`, in one line that names it."""
    if isinstance(error, OSError):
        return f"{name}: {error.strerror or error}"
    return str(error)


def batches(inputs: Iterable[Input], max_duration: float) -> Iterator[list[Input]]:
    """Group consecutive inputs into batches.

    The number of inputs times the longest is at most `max_duration` seconds, unless a batch is one input. An input in
    blocks, whose length is unknown, is a batch of its own. A batch that is full is yielded without waiting for the next
    input.
    """
    batch: list[Input] = []
    longest = 0.0
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
    """Read a file, or an array at `sampling_rate`, as mono float32 (N,) at 16 kHz; in blocks if N is above `longest`.

    Raises ValueError or OSError. Damage in a file after its first `longest` samples is raised when they are read.
    """
    blocks = _mono(audio, name, sampling_rate) if isinstance(audio, np.ndarray) else audio_blocks(audio)
    read: list[np.ndarray] = []
    size = 0
    for block in blocks:
        read.append(block)
        size += len(block)
        if size > longest:
            return chain(read, blocks)
    if size < MIN_SAMPLES:
        raise ValueError(
            f"{name}: {1000 * size / SAMPLING_RATE:.1f} ms of audio ({size} samples at {SAMPLING_RATE} "
            f"Hz): at least 25 ms ({MIN_SAMPLES}) are needed"
        )
    return np.concatenate(read)


def _mono(array: np.ndarray, name: str, rate: int) -> Iterator[np.ndarray]:
    if array.ndim not in (1, 2) or not array.size or array.dtype.kind not in "fi":
        raise ValueError(
            f"{name}: {array.dtype} of shape {array.shape}: samples are floats or signed integers, "
            "(N,) or (N, channels)"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: {np.count_nonzero(~np.isfinite(array))} of {array.size} samples are not finite")
    full_scale = -float(np.iinfo(array.dtype).min) if array.dtype.kind == "i" else 1.0
    parts = (array[i : i + BLOCK] / full_scale for i in range(0, len(array), BLOCK))
    mono = (part if part.ndim == 1 else part.mean(axis=1) for part in parts)
    return resample_blocks((part.astype(np.float32) for part in mono), rate, SAMPLING_RATE)
