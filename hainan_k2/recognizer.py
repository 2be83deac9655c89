"""Recognition for programs: a model directory in, audio in, words with their times out.

    recognizer = hainan_k2.Recognizer.load("released")
    result, = recognizer.transcribe(["talk.flac"])
    print(result.text, result.words)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import torch
from torch import Tensor

from hainan_k2.frontend.audio import SAMPLING_RATE, read_audio, resample
from hainan_k2.frontend.features import MIN_SAMPLES
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis
from hainan_k2.search import SearchConfig, choose_methods
from hainan_k2.search.knowledge import Knowledge
from hainan_k2.text import Tokenizer
from hainan_k2.tools.batches import audio_features
from hainan_k2.tools.device import pick_device
from hainan_k2.tools.evaluate import reason, search
from hainan_k2.tools.knowledge import KnowledgeConfig, load_knowledge
from hainan_k2.tools.model_dir import find_model, read_model
from hainan_k2.tools.stretches import LONGEST, search_stretches, takes_whole
from hainan_k2.tools.sweep import Row
from hainan_k2.tools.windows import WindowConfig, encode_audio, read_features

Audio = Union[str, Path, np.ndarray]
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
        said in its Result and costs no other. Only a batch is in memory; max_duration=0 makes each input one."""
        known = knowledge or self.knowledge()
        row = Row(method, choose_methods([method], known)[0], options)
        for batch in batches(read_each(audio, sampling_rate), max_duration):
            found = iter(self._search([item for item in batch if item[1] is not None], row, known))
            for result, samples in batch:
                yield result if samples is None else next(found)

    def _search(self, batch: list[tuple[Result, np.ndarray]], row: Row, knowledge: Knowledge) -> list[Result]:
        if not batch:
            return []
        try:
            encoder_out, lens = self.encode([samples for _, samples in batch])
        except (RuntimeError, MemoryError) as error:  # torch's way to say that memory is short
            if len(batch) > 1:
                return [result for one in batch for result in self._search([one], row, knowledge)]
            return [replace(batch[0][0], failure=f"{batch[0][0].name}: {reason(error)}")]
        results = [result for result, _ in batch]
        if int(lens.max()) <= LONGEST or takes_whole(row, knowledge):
            found, = search(self.model, encoder_out, lens, [row], knowledge, [result.name for result in results])
        else:
            found = [search_stretches(self.model, encoded[:length], row, knowledge, result.name, self.tokenizer.pieces)
                     for encoded, length, result in zip(encoder_out, lens.tolist(), results)]
        return [replace(r, failure=f"{r.name}: {h}") if isinstance(h, str) else
                replace(r, hypothesis=h.with_words(self.tokenizer.pieces, audio_seconds=r.seconds))
                for r, h in zip(results, found)]

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


def read_each(audio: Iterable[Audio], sampling_rate: int) -> Iterator[tuple[Result, Optional[np.ndarray]]]:
    """Every input, still without a hypothesis, and its samples; None where it cannot be read."""
    for number, item in enumerate(audio):
        name = f"array {number}" if isinstance(item, np.ndarray) else str(item)
        try:
            samples = read_samples(item, name, sampling_rate)
        except ValueError as error:
            yield Result(name, failure=str(error)), None
        else:
            yield Result(name, len(samples) / SAMPLING_RATE), samples


def batches(inputs: Iterable[tuple[Result, Optional[np.ndarray]]], max_duration: float) -> Iterator[list]:
    """Consecutive inputs in lists whose length times their longest is at most `max_duration` seconds, where they are
    more than one. A list that is full is given without waiting for the next input."""
    batch, longest = [], 0.0
    for result, samples in inputs:
        if batch and max(longest, result.seconds) * (len(batch) + 1) > max_duration:
            yield batch
            batch, longest = [], 0.0
        batch.append((result, samples))
        longest = max(longest, result.seconds)
        if longest >= max_duration:
            yield batch
            batch, longest = [], 0.0
    if batch:
        yield batch


def read_samples(audio: Audio, name: str, sampling_rate: int) -> np.ndarray:
    """A file, or an array at `sampling_rate`, as mono float32 (N,) at 16 kHz; ValueError says what is wrong with it."""
    if isinstance(audio, np.ndarray):
        samples = _mono(audio, name, sampling_rate)
    else:
        samples = read_audio(audio)
    if len(samples) < MIN_SAMPLES:
        raise ValueError(f"{name}: {1000 * len(samples) / SAMPLING_RATE:.0f} ms of audio: at least 25 ms are needed")
    return samples


def _mono(array: np.ndarray, name: str, rate: int) -> np.ndarray:
    if array.ndim not in (1, 2) or not array.size or array.dtype.kind not in "fi":
        raise ValueError(f"{name}: {array.dtype} of shape {array.shape}: samples are floats or signed integers, "
                         "(N,) or (N, channels)")
    if array.dtype.kind == "i":
        array = array / -float(np.iinfo(array.dtype).min)
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: {np.count_nonzero(~np.isfinite(array))} of {array.size} samples are not finite")
    return resample(array.mean(axis=1) if array.ndim == 2 else array, rate, SAMPLING_RATE)
