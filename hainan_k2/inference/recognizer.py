"""Recognition for programs: a model directory in, audio in, words with their times out.

recognizer = hainan_k2.Recognizer.load("released")
result, = recognizer.transcribe(["talk.flac"])
print(result.text, result.words)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import torch
from torch import Tensor

from hainan_k2.device import pick_device
from hainan_k2.formats.model_dir import find_model, read_model
from hainan_k2.frames import ENCODER_FRAME_SHIFT
from hainan_k2.frontend.audio import SAMPLING_RATE, Counted
from hainan_k2.frontend.spec import FeatureSpec
from hainan_k2.inference.engine import runs, search
from hainan_k2.inference.failures import reason
from hainan_k2.inference.samples import Audio, Result, Samples, batches, failure_of, read_each
from hainan_k2.inference.segments import LONGEST, search_stretches, takes_whole
from hainan_k2.inference.windows import WindowConfig, encode_audio, read_features
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis
from hainan_k2.search import METHODS, SearchConfig, choose_methods
from hainan_k2.search.load_resources import KnowledgeConfig, load_knowledge
from hainan_k2.search.resources import Knowledge
from hainan_k2.search.sweep import Row
from hainan_k2.stopwatch import Stopwatch
from hainan_k2.text.tokenizer import Tokenizer

DEFAULTS = SearchConfig()
WINDOWS = WindowConfig()


class Recognizer:
    """A model, its tokenizer and its features, on a device.

    The result for an input does not depend on what else is transcribed with it. Methods that need no lattice
    (ar-greedy, ar-beam, nar-greedy, sar) work without k2.
    """

    def __init__(
        self,
        model: Hainan,
        tokenizer: Tokenizer,
        provenance: Optional[dict[str, Any]] = None,
        windows: WindowConfig = WINDOWS,
    ):
        self.model, self.tokenizer, self.provenance = model.eval(), tokenizer, provenance or {}
        self.spec, self.windows = FeatureSpec.of_model(model.config), windows.windows()

    @classmethod
    def load(
        cls, name: Union[str, Path] = "released", device: str = "auto", windows: WindowConfig = WINDOWS
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

    def transcribe(
        self,
        audio: Sequence[Audio],
        method: str = "ar-greedy",
        options: SearchConfig = DEFAULTS,
        knowledge: Optional[Knowledge] = None,
        sampling_rate: int = SAMPLING_RATE,
        max_duration: float = 60.0,
    ) -> list[Hypothesis]:
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

    def stream(
        self,
        audio: Iterable[Audio],
        method: str = "ar-greedy",
        options: SearchConfig = DEFAULTS,
        knowledge: Optional[Knowledge] = None,
        sampling_rate: int = SAMPLING_RATE,
        max_duration: float = 60.0,
    ) -> Iterator[Result]:
        """`transcribe` for many inputs: a Result of each, in order, as its batch ends. What is wrong with an input is
        said in its Result and costs no other. Only a batch is in memory, and of an input longer than a window only
        blocks of samples and the encoder's output; max_duration=0 makes each input a batch."""
        known = knowledge or self.knowledge()
        choose_methods([method], known)
        if method == "all":
            raise ValueError("method all gives several results for an input: name one method")
        if METHODS[method].oracle:
            raise ValueError(f"method {method} needs references: transcribe.py takes them by --reference")
        for (result,) in self.decode(audio, [Row(method, method, options)], known, sampling_rate, max_duration):
            yield result

    def decode(
        self,
        audio: Iterable[Union[Audio, Result]],
        rows: Sequence[Row],
        knowledge: Optional[Knowledge] = None,
        sampling_rate: int = SAMPLING_RATE,
        max_duration: float = 60.0,
        watch: Optional[Stopwatch] = None,
    ) -> Iterator[list[Result]]:
        """Every input by every row, from one pass of the encoder: lists of a Result for each row, in order.

        An input that is a Result has failed before it got here, and comes out again in its place. `watch` adds up the
        seconds of "encoder" and, by its label, of every row's search. Oracles give their lists as alternatives, the
        choice from them being the caller's.
        """
        known, watch = knowledge or self.knowledge(), watch or Stopwatch()
        for batch in batches(read_each(audio, sampling_rate, self.windows.samples), max_duration):
            searched = iter(self._search([item for item in batch if item[1] is not None], rows, known, watch))
            for result, samples in batch:
                yield [result] * len(rows) if samples is None else next(searched)

    def _search(
        self, batch: list[tuple[Result, Samples]], rows: Sequence[Row], knowledge: Knowledge, watch: Stopwatch
    ) -> list[list[Result]]:
        if not batch:
            return []
        try:
            with watch.section("encoder"):
                inputs, encoder_out, lens = self._encode_inputs(batch)
        except (ValueError, OSError, RuntimeError, MemoryError) as error:  # damage behind the first window; no memory
            if len(batch) > 1:
                return [results for one in batch for results in self._search([one], rows, knowledge, watch)]
            name = batch[0][0].name
            why = failure_of(name, error) if isinstance(error, (ValueError, OSError)) else f"{name}: {reason(error)}"
            return [[replace(batch[0][0], failure=why)] * len(rows)]
        outcomes: dict[str, list[Union[Hypothesis, str]]] = {}
        for run in runs(rows):
            start = watch.now()
            outcomes.update(self._search_run(run, encoder_out, lens, knowledge, [one.name for one in inputs]))
            share = (watch.now() - start) / len(run)
            for row in run:
                watch.seconds[row.label] += share
        return [
            [self._result(one, row, outcomes[row.label][i], len(rows) > 1) for row in rows]
            for i, one in enumerate(inputs)
        ]

    def _search_run(
        self, run: Sequence[Row], encoder_out: Tensor, lens: Tensor, knowledge: Knowledge, names: Sequence[str]
    ) -> dict[str, list[Union[Hypothesis, str]]]:
        """By label, what rows that are searched together find in every input, or why they failed."""
        lengths, whole = lens.tolist(), takes_whole(run[0], knowledge)
        short = [i for i, length in enumerate(lengths) if whole or length <= LONGEST]
        outcomes: dict[tuple[str, int], Union[Hypothesis, str]] = {}
        if short:
            width = max(lengths[i] for i in short)
            results = search(
                self.model, encoder_out[short, :width], lens[short], run, knowledge, [names[i] for i in short]
            )
            outcomes.update(((row.label, i), one) for row, listed in zip(run, results) for i, one in zip(short, listed))
        for row, i in product(run, sorted(set(range(len(names))) - set(short))):
            if METHODS[row.method].oracle:
                outcomes[row.label, i] = (
                    f"longer than {LONGEST * ENCODER_FRAME_SHIFT:g} s: its n-best lists cannot be joined"
                )
            else:
                outcomes[row.label, i] = search_stretches(
                    self.model, encoder_out[i, : lengths[i]], row, knowledge, names[i], self.tokenizer.pieces
                )
        return {row.label: [outcomes[row.label, i] for i in range(len(names))] for row in run}

    def _result(self, one: Result, row: Row, outcome: Union[Hypothesis, str], several: bool) -> Result:
        if isinstance(outcome, str):
            return replace(one, failure=f"{one.name}: {row.label}: {outcome}" if several else f"{one.name}: {outcome}")
        return replace(one, hypothesis=outcome.with_words(self.tokenizer.pieces, audio_seconds=one.seconds))

    def _encode_inputs(self, batch: list[tuple[Result, Samples]]) -> tuple[list[Result], Tensor, Tensor]:
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

        A signal longer than `windows` allows is heard window by window (hainan_k2.inference.windows).
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
