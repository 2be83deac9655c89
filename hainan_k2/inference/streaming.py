"""Transcribe audio while it arrives: samples come in pieces, words go out.

The encoder reads windows (hainan_k2.inference.windows) that advance by `hop` seconds, with `behind` seconds of earlier
audio and `ahead` seconds of later audio as context. The search goes on from where it was at the end of the last window.
A word is final when the next one has begun, with ar-beam in all hypotheses: later audio cannot change it. Until then it
is part of `partial`. The language model and hotwords of ar-beam go on through the whole stream, which to them is one
sentence.

Latency: with greedy search a word is final at most `hop + ahead` seconds after the next word has begun, plus the time
that one window takes to compute; with ar-beam, as soon as its hypotheses agree on it: sooner with `--context-tokens 4`,
which merges those that differ only further back (recipes/amazon_queen/RESULTS.md). `partial` shows it within `hop`
seconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TextIO

import numpy as np

from hainan_k2.frames import ENCODER_FRAME_SHIFT
from hainan_k2.frontend.audio import SAMPLING_RATE, Counted
from hainan_k2.frontend.spec import FeatureSpec
from hainan_k2.inference.window_sizes import StreamConfig
from hainan_k2.inference.windows import encode_windows
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import WORD_START, Hypothesis, Token, Word
from hainan_k2.search import METHODS, NO_RESOURCES, DecodingResources
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.streaming import Stream


@dataclass(frozen=True)
class Update:
    """The result of a window: `seconds` of audio searched so far, the `words` that became final with it, and `partial`,
    the text after them, which may still change."""

    seconds: float
    words: tuple[Word, ...]
    partial: str


class WordStream:
    """Joins tokens to words as they become final. It holds the tokens of the last word only."""

    def __init__(self, pieces: Sequence[str]):
        self.pieces = pieces
        self.pending: list[Token] = []

    def accept(self, tokens: Sequence[Token], num_frames: int) -> tuple[Word, ...]:
        """Add tokens; returns the words that are final now: all but the last one."""
        self.pending += tokens
        starts = [i for i, token in enumerate(self.pending) if self.pieces[token.id].startswith(WORD_START)]
        last = starts[-1] if starts else 0
        complete = len(self._words(self.pending[:last], num_frames))
        words = self._words(self.pending, num_frames)[:complete]
        self.pending = self.pending[last:]
        return words

    def rest(self, tokens: Sequence[Token], num_frames: int, seconds: float = float("inf")) -> tuple[Word, ...]:
        """The words that are not final yet, if the stream ended with `tokens`."""
        return self._words([*self.pending, *tokens], num_frames, seconds)

    def _words(self, tokens: Sequence[Token], num_frames: int, seconds: float = float("inf")) -> tuple[Word, ...]:
        return Hypothesis(tuple(tokens), 0.0, num_frames).with_words(self.pieces, audio_seconds=seconds).words


def streaming_search(method: str) -> Callable[..., Stream]:
    """`Method.stream` of a method. ValueError if it cannot decode audio that has not ended yet."""
    streaming = {name: listed.stream for name, listed in METHODS.items() if listed.stream}
    if method not in streaming:
        raise ValueError(
            f"method {method} needs the whole recording before it begins; a stream is decoded by {', '.join(streaming)}"
        )
    return streaming[method]


def transcribe_stream(
    model: Hainan,
    spec: FeatureSpec,
    pieces: Sequence[str],
    blocks: Iterable[np.ndarray],
    config: StreamConfig,
    options: SearchConfig,
    method: str = "ar-greedy",
    resources: DecodingResources = NO_RESOURCES,
) -> Iterator[Update]:
    """Transcribe audio that arrives in blocks; yields an Update after every window, and one at the end.

    The words of all updates are those of `method` over `encode_audio` with the same windows, whatever the sizes of the
    blocks.

    Args:
      blocks: mono 16 kHz audio, each (N,).
    Raises:
      ValueError: for a method, options or resources that cannot decode streams, and if the audio is shorter than 25 ms.
    """
    audio, words = Counted(blocks), WordStream(pieces)
    search = streaming_search(method)(model, options, resources)
    for kept, ahead in encode_windows(model, spec, audio, config.windows()):
        final = words.accept(search.accept(kept, len(ahead)), search.num_frames)
        partial = words.rest(search.preview(ahead), search.num_frames + len(ahead))
        decided = min(
            search.num_frames * ENCODER_FRAME_SHIFT, audio.samples / SAMPLING_RATE
        )  # the last frame may be cut
        yield Update(round(decided, 3), final, " ".join(word.text for word in partial))
    seconds = audio.samples / SAMPLING_RATE
    yield Update(round(seconds, 3), words.rest(search.finish(), search.num_frames, seconds), "")


def show(updates: Iterable[Update], out: TextIO) -> None:
    """Write every update as a line of JSON; on a terminal, final words as text, then the partial text, which the next
    update replaces."""
    for update in updates:
        if not out.isatty():
            out.write(json.dumps(asdict(update), ensure_ascii=False) + "\n")
        else:
            final = "".join(word.text + " " for word in update.words)
            out.write(f"\r\x1b[K{final}" + ("\n" if final else "") + update.partial)
        out.flush()
