"""Service: what the server computes. Samples to a hypothesis, to the report page, and a stream to updates.

It knows nothing of HTTP. Its methods block; the server calls them in threads (search_queue.py, live.py).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hainan_k2.formats.model_dir import find_model
from hainan_k2.frontend.audio import SAMPLING_RATE, audio_blocks
from hainan_k2.frontend.content import AudioContent
from hainan_k2.frontend.samples import MIN_SAMPLES
from hainan_k2.inference.decoded import Decoded
from hainan_k2.inference.inputs import utterance_id
from hainan_k2.inference.pcm import ByteStream, pcm_blocks
from hainan_k2.inference.recognizer import Recognizer
from hainan_k2.inference.streaming import Update
from hainan_k2.inference.window_sizes import StreamConfig, WindowConfig
from hainan_k2.report import render
from hainan_k2.report.make import transcription_page
from hainan_k2.report.origin import origin
from hainan_k2.result import Hypothesis
from hainan_k2.search import METHODS, choose_methods
from hainan_k2.search.resources import DecodingResources, ResourceConfig, load_resources
from hainan_k2.search.sweep import Row, make_rows

logger = logging.getLogger(__name__)

STREAM_METHOD = "ar-greedy"  # of streams, where the method of files needs the whole recording


class TooLong(ValueError):
    """A recording has more seconds than the server takes."""


@dataclass(frozen=True)
class Recording:
    """A recording that was read: its `name` and its samples (N,), mono, 16 kHz."""

    name: str
    samples: np.ndarray

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLING_RATE


def read_recording(content: AudioContent, max_seconds: float) -> Recording:
    """Read an upload.

    Raises:
      UnknownFormat: if libsndfile does not read its format.
      TooLong: if it has more than `max_seconds`; no more than that is held in memory.
      ValueError: if it is damaged, or shorter than 25 ms.
    """
    blocks, size = [], 0
    for block in audio_blocks(content):
        blocks.append(block)
        size += len(block)
        if size > max_seconds * SAMPLING_RATE:
            raise TooLong(f"{content}: longer than {max_seconds:g} s, the most that this server takes")
    if size < MIN_SAMPLES:
        raise ValueError(f"{content}: {1000 * size / SAMPLING_RATE:.1f} ms of audio: at least 25 ms are needed")
    return Recording(content.name, np.concatenate(blocks))


class Service:
    """A recognizer with one method for recordings and one for streams.

    Args:
      name: of the model, as clients see it.
      rows: method and options for recordings, and for streams.
      resources: LM, graph, grammar and hotwords for recordings, and for streams.
      made: (name, value) pairs at the end of the report page (report/origin.py). The command is not among them: it has
        paths of the server.
    """

    def __init__(
        self,
        name: str,
        recognizer: Recognizer,
        rows: tuple[Row, Row],
        resources: tuple[DecodingResources, DecodingResources],
        streams: StreamConfig,
        made: tuple[tuple[str, str], ...] = (),
    ):
        self.name, self.recognizer, self.streams, self.made = name, recognizer, streams, made
        self.row, self.stream_row = rows
        self.resources, self.stream_resources = resources

    @classmethod
    def load(
        cls,
        model: str,
        method: str,
        options: Any,
        files: ResourceConfig,
        windows: WindowConfig,
        streams: StreamConfig,
        device: str = "auto",
        precision: str = "float32",
    ) -> Service:
        """Load a model directory and decoding resources.

        Args:
          method: of recordings, by default the model's; of streams too if it can search them, otherwise ar-greedy.
          options: a SearchGrid with one value of every option.
        Raises:
          ValueError: for a model, resources or options that cannot be used.
        """
        recognizer = Recognizer.load(model, device, windows, precision)
        defaults, named = recognizer.defaults, load_resources(files, recognizer.tokenizer)
        method = method or defaults.method(named)
        resources = defaults.with_own_lm(named, [method])
        (chosen,) = choose_methods([method], resources, recognizer.model.config, options.lattice)
        if METHODS[chosen].oracle:
            raise ValueError(f"method {chosen} needs references, which a server has not")
        row, *more = make_rows([chosen], options, defaults.decoding.settings, resources.given())
        if more:
            raise ValueError(f"a server takes one value of every option, not {row.label} and {more[0].label}")
        stream_row = row
        if not METHODS[chosen].stream:
            stream_row = make_rows([STREAM_METHOD], None, defaults.decoding.settings, named.given())[0]
            logger.info("method %s needs whole recordings: streams are searched by %s", chosen, STREAM_METHOD)
        folder = find_model(model)
        name = folder.resolve().name
        made = [pair for pair in origin([folder / "model.safetensors"], name) if pair[0] != "command"]
        return cls(name, recognizer, (row, stream_row), (resources, named), streams, tuple(made))

    def transcribe(self, recording: Recording) -> Hypothesis:
        """The words of a recording. ValueError with the reason if the search fails."""
        ((result,),) = self.recognizer.decode([recording.samples], [self.row], self.resources)
        if result.hypothesis is None:
            raise ValueError(f"{recording.name}: {result.failure.partition(': ')[2]}")
        return result.hypothesis

    def report(self, recording: Recording) -> str:
        """The report page of a recording (hainan_k2.report): an HTML document that loads no other file."""
        decoded = Decoded(
            utterance_id(recording.name), "", recording.seconds, {}, {}, self.recognizer.tokenizer.scoring
        )
        shown = [(recording.samples, decoded)]
        return render(transcription_page(self.recognizer, shown, [self.row], self.resources, origin=self.made))

    def stream(self, pcm: ByteStream) -> Iterator[Update]:
        """The updates of 16-bit PCM, mono, 16 kHz, while it arrives. ValueError if it is something else."""
        row, blocks = self.stream_row, pcm_blocks(pcm, "the stream")
        return self.recognizer.transcribe_stream(blocks, row.method, row.options, self.stream_resources, self.streams)
