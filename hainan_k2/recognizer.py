"""Recognition for programs: a model directory in, audio in, words with their times out.

    recognizer = hainan_k2.Recognizer.load("released")
    result, = recognizer.transcribe(["talk.flac"])
    print(result.text, result.words)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import inf
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import torch
from torch import Tensor

from hainan_k2.frontend.audio import BLOCK, SAMPLING_RATE, Counted, audio_blocks, resample_blocks
from hainan_k2.frontend.features import MIN_SAMPLES
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis
from hainan_k2.search import SearchConfig, choose_methods
from hainan_k2.search.knowledge import Knowledge
from hainan_k2.text import Tokenizer
from hainan_k2.tools.batches import audio_features
from hainan_k2.tools.device import pick_device
from hainan_k2.tools.evaluate import search
from hainan_k2.tools.failures import reason
from hainan_k2.tools.knowledge import KnowledgeConfig, load_knowledge
from hainan_k2.tools.model_dir import find_model, read_model
from hainan_k2.tools.stretches import LONGEST, search_stretches, takes_whole
from hainan_k2.tools.sweep import Row
from hainan_k2.tools.windows import WindowConfig, encode_audio, read_features

Audio = Union[str, Path, np.ndarray]
Samples = Union[None, np.ndarray, Iterator[np.ndarray]]  # of an input: unreadable, all of them, or block after block
DEFAULTS = SearchConfig()
WINDOWS = WindowConfig()


@dataclass(frozen=True)
class Result:
    """What became of one input: its hypothesis, or why there is none. `seconds` is its length, 0 where unreadable."""

    name: str
    seconds: float = 0.0
    hypothesis: Optional[Hypothesis] = None
    failure: str = ""


class Recognizer:
    """A model, its tokenizer and its features, on a device.

    The result for an input does not depend on what else is transcribed with it. Methods that need no lattice
    (ar-greedy, ar-beam, nar-greedy, sar) work without k2.
    """

    def __init__(self, model: Hainan, tokenizer: Tokenizer, provenance: Optional[dict[str, Any]] = None,
                 windows: WindowConfig = WINDOWS):
        self.model, self.tokenizer, self.provenance = model.eval(), tokenizer, provenance or {}
        self.spec, self.windows = audio_features(model.config), windows.windows()

    @classmethod
    def load(cls, name: Union[str, Path] = "released", device: str = "auto", windows: WindowConfig = WINDOWS
             ) -> Recognizer:
        """From a model directory of export.py; "released" is the one that comes with the package. `windows` says how
        audio is heard that is too long to be heard at once.

        Raises ValueError: one line with the file that is missing, damaged or does not fit the others.
        """
        model, tokenizer, provenance = read_model(find_model(name))
        return cls(model.to(pick_device(device)), tokenizer, provenance, windows)

    def knowledge(self, **files: str) -> Knowledge:
        """What a search may know beside the model: lm="4gram.arpa", hotwords="names.txt" ... (KnowledgeConfig)."""
        return load_knowledge(KnowledgeConfig(**files), self.tokenizer)

    def transcribe(self, audio: Sequence[Audio], method: str = "ar-greedy", options: SearchConfig = DEFAULTS,
                   knowledge: Optional[Knowledge] = None, sampling_rate: int = SAMPLING_RATE,
                   max_duration: float = 60.0) -> list[Hypothesis]:
        """A Hypothesis (text, words with start and end in seconds) for every input, in order.

        Args:
          audio: files that libsndfile reads, at any rate, and arrays (N,) or (N, channels): floats in [-1, 1] or
            signed integers at `sampling_rate`. Channels are averaged.
          method: of METHODS; `options` and `knowledge` are what it takes.
          max_duration: seconds of audio in a batch, padding included; a longer input is by itself.
        Raises:
          ValueError: naming the first input that cannot be read or searched, or what the method needs.
        """
        if isinstance(audio, (str, Path, np.ndarray)):
            raise ValueError("audio is a list of files and arrays: write [it] for a single one")
        results = list(self.stream(audio, method, options, knowledge, sampling_rate, max_duration))
        failed = [result for result in results if result.hypothesis is None]
        if failed:
            raise ValueError(failed[0].failure + (f" (and {len(failed) - 1} more failed)" if failed[1:] else ""))
        return [result.hypothesis for result in results]

    def stream(self, audio: Iterable[Audio], method: str = "ar-greedy", options: SearchConfig = DEFAULTS,
               knowledge: Optional[Knowledge] = None, sampling_rate: int = SAMPLING_RATE,
               max_duration: float = 60.0) -> Iterator[Result]:
        """`transcribe` for many inputs: a Result of each, in order, as its batch ends. What is wrong with an input is
        said in its Result and costs no other. Only a batch is in memory, and of an input longer than a window only
        blocks of samples and the encoder's output; max_duration=0 makes each input a batch."""
        known = knowledge or self.knowledge()
        row = Row(method, choose_methods([method], known)[0], options)
        for batch in batches(read_each(audio, sampling_rate, self.windows.samples), max_duration):
            found = iter(self._search([item for item in batch if item[1] is not None], row, known))
            for result, samples in batch:
                yield result if samples is None else next(found)

    def _search(self, batch: list[tuple[Result, Samples]], row: Row, knowledge: Knowledge) -> list[Result]:
        if not batch:
            return []
        try:
            results, encoder_out, lens = self._hear(batch)
        except (ValueError, RuntimeError, MemoryError) as error:  # damage behind the first window; memory is short
            if len(batch) > 1:
                return [result for one in batch for result in self._search([one], row, knowledge)]
            why = str(error) if isinstance(error, ValueError) else f"{batch[0][0].name}: {reason(error)}"
            return [replace(batch[0][0], failure=why)]
        if int(lens.max()) <= LONGEST or takes_whole(row, knowledge):
            found, = search(self.model, encoder_out, lens, [row], knowledge, [result.name for result in results])
        else:
            found = [search_stretches(self.model, encoded[:length], row, knowledge, result.name, self.tokenizer.pieces)
                     for encoded, length, result in zip(encoder_out, lens.tolist(), results)]
        return [replace(r, failure=f"{r.name}: {h}") if isinstance(h, str) else
                replace(r, hypothesis=h.with_words(self.tokenizer.pieces, audio_seconds=r.seconds))
                for r, h in zip(results, found)]

    def _hear(self, batch: list[tuple[Result, Samples]]) -> tuple[list[Result], Tensor, Tensor]:
        """The results, now with their seconds, and `encode` of their samples. What comes in blocks is by itself."""
        result, samples = batch[0]
        if isinstance(samples, np.ndarray):
            return [r for r, _ in batch], *self.encode([s for _, s in batch])
        blocks = Counted(samples)
        encoded = encode_audio(self.model, self.spec, blocks, self.windows)
        return [replace(result, seconds=blocks.samples / SAMPLING_RATE)], *encoded

    @torch.no_grad()
    def encode(self, batch: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        """B mono signals (N,), 16 kHz -> encoder output (B, T, C), 80 ms frames, padded, and lens (B,).

        A signal longer than `windows` allows is heard window by window (hainan_k2.tools.windows).
        """
        if max(map(len, batch)) > self.windows.samples:
            encoded = [encode_audio(self.model, self.spec, [samples], self.windows)[0][0] for samples in batch]
            lens = torch.tensor([len(e) for e in encoded], device=encoded[0].device)
            return torch.nn.utils.rnn.pad_sequence(encoded, batch_first=True), lens
        features = [read_features(samples, self.spec)[0] for samples in batch]
        lens = torch.tensor([len(f) for f in features])
        padded = torch.nn.utils.rnn.pad_sequence(features, batch_first=True)
        device = next(self.model.parameters()).device
        return self.model.encoder(padded.to(device), lens.to(device))


def read_each(audio: Iterable[Audio], sampling_rate: int, longest: int) -> Iterator[tuple[Result, Samples]]:
    """Every input, still without a hypothesis, and its samples: in blocks, read as they are asked for, where they are
    more than `longest`. The seconds of such a result are not known yet."""
    for number, item in enumerate(audio):
        name = f"array {number}" if isinstance(item, np.ndarray) else str(item)
        try:
            samples = read_samples(item, name, sampling_rate, longest)
        except ValueError as error:
            yield Result(name, failure=str(error)), None
        else:
            yield Result(name, len(samples) / SAMPLING_RATE if isinstance(samples, np.ndarray) else 0.0), samples


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

    ValueError says what is wrong with it; what is wrong with a file after its first `longest` samples is said when they
    are read.
    """
    blocks = _mono(audio, name, sampling_rate) if isinstance(audio, np.ndarray) else audio_blocks(audio)
    begun, size = [], 0
    for block in blocks:
        begun.append(block)
        size += len(block)
        if size > longest:
            return chain(begun, blocks)
    if size < MIN_SAMPLES:
        raise ValueError(f"{name}: {1000 * size / SAMPLING_RATE:.1f} ms of audio ({size} samples at {SAMPLING_RATE} "
                         f"Hz): at least 25 ms ({MIN_SAMPLES}) are needed")
    return np.concatenate(begun)


def _mono(array: np.ndarray, name: str, rate: int) -> Iterator[np.ndarray]:
    if array.ndim not in (1, 2) or not array.size or array.dtype.kind not in "fi":
        raise ValueError(f"{name}: {array.dtype} of shape {array.shape}: samples are floats or signed integers, "
                         "(N,) or (N, channels)")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: {np.count_nonzero(~np.isfinite(array))} of {array.size} samples are not finite")
    full = -float(np.iinfo(array.dtype).min) if array.dtype.kind == "i" else 1.0
    parts = (array[i : i + BLOCK] / full for i in range(0, len(array), BLOCK))
    mono = (part if part.ndim == 1 else part.mean(axis=1) for part in parts)
    return resample_blocks((part.astype(np.float32) for part in mono), rate, SAMPLING_RATE)
