"""Recognizer: a model directory in, audio in, words with times out.

recognizer = hainan_k2.Recognizer.load("released")
hypothesis, = recognizer.transcribe(["talk.flac"])
print(hypothesis.text, hypothesis.words)
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import torch
from torch import Tensor

from hainan_k2.device import pick_device
from hainan_k2.formats.model_dir import NOTHING, find_model, read_decoding, read_model
from hainan_k2.frontend.audio import SAMPLING_RATE, Counted
from hainan_k2.frontend.spec import FeatureSpec
from hainan_k2.fsa.k2 import Fsa
from hainan_k2.inference.batch_search import Outcome
from hainan_k2.inference.defaults import Defaults
from hainan_k2.inference.engine import search_encoded
from hainan_k2.inference.failures import reason
from hainan_k2.inference.samples import Audio, Input, batches, failure_of, read_each
from hainan_k2.inference.streaming import Update, transcribe_stream
from hainan_k2.inference.window_sizes import StreamConfig, WindowConfig
from hainan_k2.inference.windows import FRAME, encode_audio
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis, Transcription
from hainan_k2.search import METHODS, SearchConfig
from hainan_k2.search.lattices import lattice_method, search_lattice
from hainan_k2.search.resources import DecodingResources, ResourceConfig, load_resources
from hainan_k2.search.settings import Decoding
from hainan_k2.search.sweep import Row
from hainan_k2.stopwatch import Stopwatch
from hainan_k2.text.tokenizer import Tokenizer

WINDOWS = WindowConfig()
STREAM = StreamConfig()


class Recognizer:
    """A model, its tokenizer and its features, on a device.

    The result for an input does not depend on the other inputs. Without k2 all
    methods work but those that METHODS marks.

    >>> recognizer = Recognizer.load("released", device="cpu")
    >>> recognizer.transcribe(["tests/data/jfk.flac"])[0].words[0].text
    'and'
    """

    def __init__(
        self,
        model: Hainan,
        tokenizer: Tokenizer,
        provenance: Optional[dict[str, Any]] = None,
        windows: WindowConfig = WINDOWS,
        decoding: Decoding = NOTHING,
        folder: Optional[Path] = None,
    ):
        self.model, self.tokenizer, self.provenance = model.eval(), tokenizer, provenance or {}
        self.defaults = Defaults(decoding, folder, tokenizer, model.config)
        self.spec, self.windows = FeatureSpec.of_model(model.config), windows.windows()

    @classmethod
    def load(
        cls,
        name: Union[str, Path] = "released",
        device: str = "auto",
        windows: WindowConfig = WINDOWS,
        precision: str = "float32",
    ) -> Recognizer:
        """Load a model directory of export.py or import_model.py; "released" is the one that comes with the package.

        Args:
          windows: how audio is encoded that is longer than a window.
          precision: in which the encoder computes: float32, float16 or bfloat16 where torch can on this device, or int8
            (CPU). All else stays float32.
        Raises:
          ValueError: one line with the file that is missing, damaged or does not fit the others, or a precision that is
            not available.
        """
        folder = find_model(name)
        model, tokenizer, provenance = read_model(folder, precision, pick_device(device))
        return cls(model, tokenizer, provenance, windows, read_decoding(folder), folder)

    def resources(self, **files: str) -> DecodingResources:
        """Load decoding resources: lm="4gram.arpa", hotwords="names.txt" and the other fields of ResourceConfig.

        Searches add the language model of the model directory to them where a method takes one and `lm` is not given;
        lm="none" prevents it.
        """
        return load_resources(ResourceConfig(**files), self.tokenizer)

    def transcribe(
        self,
        audio: Sequence[Audio],
        method: str = "",
        options: Optional[SearchConfig] = None,
        resources: Optional[DecodingResources] = None,
        sampling_rate: int = SAMPLING_RATE,
        max_duration: float = 60.0,
    ) -> list[Hypothesis]:
        """Transcribe every input: a Hypothesis with text, and words with start and end in seconds, in order.

        Args:
          audio: files that libsndfile reads, at any rate, and arrays (N,) or (N, channels): floats in [-1, 1] or
            signed integers at `sampling_rate`. Channels are averaged.
          method: a name in METHODS, by default that of `self.defaults`; `options` and `resources` are what it takes.
            Without `options`, those stored with the model for these resources, or the method's defaults.
          max_duration: seconds of audio in a batch, padding included; a longer input is a batch of its own.
        Raises:
          ValueError: naming the first input that cannot be read or searched, or what the method needs.
        """
        if isinstance(audio, (str, Path, np.ndarray)):
            raise ValueError("audio is a list of files and arrays: write [it] for a single one")
        results = list(self.stream(audio, method, options, resources, sampling_rate, max_duration))
        failed = [result for result in results if result.hypothesis is None]
        if failed:
            raise ValueError(failed[0].failure + (f" (and {len(failed) - 1} more failed)" if failed[1:] else ""))
        return [result.hypothesis for result in results if result.hypothesis is not None]

    def stream(
        self,
        audio: Iterable[Audio],
        method: str = "",
        options: Optional[SearchConfig] = None,
        resources: Optional[DecodingResources] = None,
        sampling_rate: int = SAMPLING_RATE,
        max_duration: float = 60.0,
    ) -> Iterator[Transcription]:
        """`transcribe` for any number of inputs: yields the Transcription of each, in order, as soon as its batch ends.

        An input that fails has the reason in its Transcription and costs no other input. Memory holds one batch only;
        of an input longer than a window it holds blocks of samples and the encoder output. max_duration=0 makes each
        input a batch.
        """
        row, loaded = self.defaults.search(method, resources or self.resources(), options)
        if METHODS[row.method].oracle:
            raise ValueError(f"method {row.method} needs references: transcribe.py takes them by --reference")
        for (result,) in self.decode(audio, [row], loaded, sampling_rate, max_duration):
            yield result

    def transcribe_stream(
        self,
        blocks: Iterable[np.ndarray],
        method: str = "ar-greedy",
        options: Optional[SearchConfig] = None,
        resources: Optional[DecodingResources] = None,
        config: StreamConfig = STREAM,
    ) -> Iterator[Update]:
        """Transcribe audio while it arrives, mono 16 kHz blocks (N,): yields an Update with words after every window.

        Raises ValueError as hainan_k2.inference.streaming.transcribe_stream, and for what the method needs.
        """
        row, loaded = self.defaults.search(method, resources or self.resources(), options)
        pieces = self.tokenizer.pieces
        updates = transcribe_stream(self.model, self.spec, pieces, blocks, config, row.options, row.method, loaded)
        calibration = row.calibration
        if calibration is None:
            return updates
        return (replace(update, words=calibration.of_words(update.words)) for update in updates)

    def decode(
        self,
        audio: Iterable[Union[Audio, Transcription]],
        rows: Sequence[Row],
        resources: Optional[DecodingResources] = None,
        sampling_rate: int = SAMPLING_RATE,
        max_duration: float = 60.0,
        watch: Optional[Stopwatch] = None,
    ) -> Iterator[list[Transcription]]:
        """Decode every input with every row, from one pass of the encoder: a list with a Transcription for each row.

        An input that is a Transcription has failed already; it comes out unchanged at its place. `watch` adds up the
        seconds of "encoder" and, under its label, of every row's search. Oracle methods give the whole n-best list as
        alternatives, from which the caller picks.
        """
        loaded, watch = resources or self.resources(), watch or Stopwatch()
        for batch in batches(read_each(audio, sampling_rate, self.windows.at_once * FRAME), max_duration):
            readable = [(result, samples) for result, samples in batch if samples is not None]
            decoded = iter(self._decode_batch(readable, rows, loaded, watch))
            for result, samples in batch:
                yield [result] * len(rows) if samples is None else next(decoded)

    def _decode_batch(
        self,
        batch: Sequence[Input],
        rows: Sequence[Row],
        resources: DecodingResources,
        watch: Stopwatch,
    ) -> list[list[Transcription]]:
        if not batch:
            return []
        try:
            with watch.section("encoder"):
                results, encoder_out, lens = self.encode_inputs(batch)
        except (ValueError, OSError, RuntimeError, MemoryError) as error:  # damage after the first window; no memory
            if len(batch) > 1:
                return [listed for one in batch for listed in self._decode_batch([one], rows, resources, watch)]
            name = batch[0][0].name
            why = failure_of(name, error) if isinstance(error, (ValueError, OSError)) else f"{name}: {reason(error)}"
            return [[replace(batch[0][0], failure=why)] * len(rows)]
        names = [result.name for result in results]
        outcomes = search_encoded(self.model, encoder_out, lens, rows, self.tokenizer.pieces, names, resources, watch)
        return [
            [self._transcription(result, row, outcome, len(rows) > 1) for row, outcome in zip(rows, of_input)]
            for result, of_input in zip(results, outcomes)
        ]

    def _transcription(self, result: Transcription, row: Row, outcome: Outcome, several: bool) -> Transcription:
        if isinstance(outcome, str):
            label = f"{row.label}: " if several else ""
            return replace(result, failure=f"{result.name}: {label}{outcome}")
        return replace(result, hypothesis=row.finished(outcome, self.tokenizer.pieces, result.seconds))

    def encode_inputs(self, batch: Sequence[Input]) -> tuple[list[Transcription], Tensor, Tensor]:
        """The inputs with their lengths in seconds, and `encode` of them. An input in blocks is a batch of its own."""
        result, samples = batch[0]
        if isinstance(samples, Iterator):
            blocks = Counted(samples)
            encoded = encode_audio(self.model, self.spec, blocks, self.windows)
            return [replace(result, seconds=blocks.samples / SAMPLING_RATE)], *encoded
        return [r for r, _ in batch], *self.encode([s for _, s in batch if isinstance(s, np.ndarray)])

    @torch.no_grad()
    def log_probs(self, audio: Sequence[Audio]) -> tuple[Tensor, Tensor, Tensor]:
        """The scores of the encoder-only joint: log P_T (B, T, V), log P_D (B, T, D), natural log, and lens (B,).

        Frames last 80 ms; token 0 is blank. Raises ValueError naming the first input that cannot be read.
        """
        encoder_out, lens = self.encode(self._samples(audio))
        return *self.model.joiner.log_probs(self.model.joiner.project_encoder(encoder_out)), lens

    @torch.no_grad()
    def lattice(
        self,
        audio: Sequence[Audio],
        options: Optional[SearchConfig] = None,
        resources: Optional[DecodingResources] = None,
        **files: str,
    ) -> Fsa:
        """The lattices of the encoder-only joint, a k2.FsaVec, alone or with decoding resources.

        Args:
          options: top_k, scales and pruning, by default those that the method with these resources has in `transcribe`:
            graph, grammar, viterbi-lm, viterbi; lattice="ar" makes the lattices of ar-beam.
          files: lm="4gram.arpa", hotwords="names.txt", grammar="digits.grammar", graph="LG.safetensors",
            word_lm="words.arpa": files of decoding resources, in place of `resources` that are loaded already. The
            lattice of a graph has words as aux_labels, the indices of `resources.graph.words`.
        Raises:
          ValueError: naming an input or a file that cannot be read, and where k2 does not work.

        >>> lattice = recognizer.lattice(["tests/data/jfk.flac"], SearchConfig(top_k=8))
        """
        loaded = resources or self.resources(**files)
        if options is None:
            row, loaded = self.defaults.search(lattice_method(loaded), loaded)
            options = row.options
        return search_lattice(self.model, *self.encode(self._samples(audio)), options, loaded)

    def _samples(self, audio: Sequence[Audio]) -> list[np.ndarray]:
        """The samples (N,) of every input, or ValueError."""
        signals = []
        for result, samples in read_each(audio, SAMPLING_RATE, sys.maxsize):
            if not isinstance(samples, np.ndarray):
                raise ValueError(result.failure)
            signals.append(samples)
        return signals

    @torch.no_grad()
    def encode(self, batch: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        """Encode B mono signals (N,) at 16 kHz: encoder output (B, T, C) in frames of 80 ms, padded, and lens (B,).

        A signal longer than a window is encoded in windows (hainan_k2.inference.windows).
        """
        device = next(self.model.parameters()).device
        if max(map(len, batch)) > self.windows.at_once * FRAME:
            encoded = [encode_audio(self.model, self.spec, [samples], self.windows)[0][0] for samples in batch]
            lens = torch.tensor([len(e) for e in encoded], device=device)
            return torch.nn.utils.rnn.pad_sequence(encoded, batch_first=True), lens
        features = [self.spec.compute(samples) for samples in batch]
        lens = torch.tensor([len(f) for f in features])
        padded = torch.nn.utils.rnn.pad_sequence(features, batch_first=True)
        out: tuple[Tensor, Tensor] = self.model.encoder(padded.to(device), lens.to(device))
        return out
