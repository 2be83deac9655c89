"""Transcribe audio while it arrives: samples come in pieces, words go out.

The encoder reads windows (hainan_k2.inference.windows) that advance by `hop` seconds, with `behind` seconds of earlier
audio and `ahead` seconds of later audio as context. The search goes on from where it was at the end of the last window.
A word is final when the next one has begun, with ar-beam in all hypotheses: later audio cannot change it. Until then it
is part of `partial`.

A silence of `endpoint_silence` seconds ends the utterance: its last word is final, and the search begins anew, as at
the beginning of a recording. So unfinished text, and the memory of ar-beam, grow with the length of an utterance at
most. To the language model and hotwords an utterance is a sentence. The encoder reads on as if there were no end
point. With `endpoint_silence` 0 the whole stream is one utterance.

Latency: with greedy search a word is final at most `hop + ahead` seconds after the next word has begun, plus the time
that one window takes to compute; with ar-beam, as soon as its hypotheses agree on it: sooner with `--context-tokens 4`,
which merges those that differ only further back (recipes/amazon_queen/RESULTS.md). The last word before a silence is
final at most `hop + max(ahead, endpoint_silence)` seconds after its end. `partial` shows a word within `hop` seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from torch import Tensor

from hainan_k2.frames import ENCODER_FRAME_SHIFT
from hainan_k2.frontend.audio import SAMPLING_RATE, Counted
from hainan_k2.frontend.spec import FeatureSpec
from hainan_k2.inference.window_sizes import StreamConfig, to_frames
from hainan_k2.inference.windows import encode_windows
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import WORD_START, Hypothesis, Token, Word
from hainan_k2.search import METHODS, NO_RESOURCES, DecodingResources
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.streaming import Stream


@dataclass(frozen=True)
class Update:
    """The result of a window, or of an utterance that ends in it: `seconds` of audio searched so far, the `words` that
    became final with it, and `partial`, the text after them, which may still change. `endpoint`: a silence after the
    last word ends the utterance. Times count from the beginning of the stream."""

    seconds: float
    words: tuple[Word, ...]
    partial: str
    endpoint: bool = False


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


class Utterances:
    """The search of a stream, which begins anew at end points. It yields words with times of the whole stream.

    begin: the search; it is called at the beginning of every utterance.
    silence: encoder frames without a token that end an utterance; 0: nothing ends one.
    """

    def __init__(self, begin: Callable[[], Stream], pieces: Sequence[str], silence: int):
        self.begin, self.pieces, self.silence = begin, pieces, silence
        self._restart(0)

    @property
    def num_frames(self) -> int:
        """Frames of the stream that are accepted so far."""
        return self.first + self.search.num_frames

    def accept(self, kept: Tensor, ahead: Tensor) -> Iterator[tuple[int, tuple[Word, ...], str, bool]]:
        """Search the next frames, kept (T, C), which the frames ahead (R, C) will follow.

        Yields (frames searched so far, final words, partial text, whether the utterance ended) for each utterance that
        ends within `kept`, and once for what follows.
        """
        while True:
            before = self.num_frames
            tokens = self._in_stream(self.search.accept(kept, len(ahead)))
            rest = self._in_stream(self.search.preview(ahead))
            end = self._end([*self.words.pending, *tokens, *rest], len(ahead))
            if end is None:
                break
            end = max(before, end)
            words = self.words.rest([token for token in [*tokens, *rest] if token.frame < end], end)
            if words:
                yield end, words, "", True
            self._restart(end)
            kept = kept[end - before :]
        final = self.words.accept(tokens, self.num_frames)
        unfinished = self.words.rest(rest, self.num_frames + len(ahead))
        yield self.num_frames, final, " ".join(word.text for word in unfinished), False

    def finish(self, seconds: float) -> tuple[Word, ...]:
        """The words that are not final yet. The stream has ended after so many seconds."""
        return self.words.rest(self._in_stream(self.search.finish()), self.num_frames, seconds)

    def _restart(self, first: int) -> None:
        self.search, self.words, self.first = self.begin(), WordStream(self.pieces), first

    def _in_stream(self, tokens: Sequence[Token]) -> list[Token]:
        return [replace(token, frame=token.frame + self.first) for token in tokens]

    def _end(self, tokens: Sequence[Token], ahead: int) -> int | None:
        """The frame, among those accepted, at which the utterance of `tokens` ends; None: it goes on.

        It ends with the first silence after a token, of which a part may lie in the frames ahead. Where no token has
        come for as long, the search begins anew too.
        """
        if not self.silence:
            return None
        known = self.num_frames + ahead
        if not tokens:
            return self.num_frames if self.search.num_frames >= self.silence else None
        spans = Hypothesis(tuple(tokens), 0.0, known).spans()
        following = [*(start for start, _ in spans[1:]), known]
        for (_, end), start in zip(spans, following):
            if end <= self.num_frames and start - end >= self.silence:
                return min(end + self.silence, self.num_frames)
        return None


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
    """Transcribe audio that arrives in blocks; yields an Update after every window, at every end point and at the end.

    The updates do not depend on the sizes of the blocks. With `endpoint_silence` 0 the words of all updates are those
    of `method` over `encode_audio` with the same windows.

    Args:
      blocks: mono 16 kHz audio, each (N,).
    Raises:
      ValueError: for a method, options or resources that cannot decode streams, and if the audio is shorter than 25 ms.
    """
    audio = Counted(blocks)
    begin = partial(streaming_search(method), model, options, resources)
    utterances = Utterances(begin, pieces, to_frames(config.endpoint_silence))
    for kept, ahead in encode_windows(model, spec, audio, config.windows()):
        for frames, words, unfinished, endpoint in utterances.accept(kept, ahead):
            searched = min(frames * ENCODER_FRAME_SHIFT, audio.samples / SAMPLING_RATE)  # the last frame may be cut
            yield Update(round(searched, 3), words, unfinished, endpoint)
    seconds = audio.samples / SAMPLING_RATE
    yield Update(round(seconds, 3), utterances.finish(seconds), "")
