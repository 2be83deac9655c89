"""What every search returns - Token, Word, Hypothesis - and how it is written: text, JSON lines, CTM, SRT,
WebVTT.

Times: a token is spoken from its frame to `frame + max(1, duration)`, cut at the frame of the next token and
at the end of the utterance. So times never run backwards, words never overlap, and nothing depends on the
rest of the batch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Optional

from hainan_k2.frames import ENCODER_FRAME_SHIFT

WORD_START = "▁"


@dataclass(frozen=True)
class Token:
    """One emitted token: `id`, the encoder `frame` it was emitted at, the predicted `duration` in frames (0
    allowed), and `confidence` in [0, 1]."""

    id: int
    frame: int
    duration: int
    confidence: float


@dataclass(frozen=True)
class Word:
    """A word: `start` and `end` in seconds, and `confidence` in [0, 1], that of its least certain token."""

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Round:
    """One refinement round: the token ids after it and how many positions it changed, dropped and added."""

    ids: tuple[int, ...]
    substitutions: int
    deletions: int
    insertions: int


@dataclass(frozen=True)
class Hypothesis:
    """The result of one utterance.

    `score` is a natural logarithm; each search documents what it sums. `num_frames` is the utterance's length
    in encoder frames. `words` and `text` are empty until `with_words`. `alternatives` holds the n-best list,
    this hypothesis first, where a search gives one; `rounds` what refinement did; `note` says when a search
    had to fall back. `output` is what a word graph or a grammar says in other words than the tokens' pieces spell:
    each word with the first of its tokens and the one after its last, by their places in `tokens`.
    """

    tokens: tuple[Token, ...]
    score: float
    num_frames: int
    words: tuple[Word, ...] = ()
    text: str = ""
    alternatives: tuple[Hypothesis, ...] = ()
    rounds: tuple[Round, ...] = ()
    note: str = ""
    output: Optional[tuple[tuple[str, int, int], ...]] = None

    @property
    def ids(self) -> tuple[int, ...]:
        """Token ids without blanks."""
        return tuple(token.id for token in self.tokens)

    def spans(self) -> list[tuple[int, int]]:
        """(first frame, frame after the last) of every token: ascending, disjoint, within `num_frames`."""
        limits = [token.frame for token in self.tokens[1:]] + [self.num_frames]
        return [
            (token.frame, min(token.frame + max(1, token.duration), limit)) for token, limit in zip(self.tokens, limits)
        ]

    @property
    def start(self) -> float:
        """Start of the first word in seconds; 0 where there is none."""
        return self.words[0].start if self.words else 0.0

    @property
    def end(self) -> float:
        """End of the last word in seconds; 0 where there is none."""
        return self.words[-1].end if self.words else 0.0

    def with_words(
        self, pieces: Sequence[str], frame_shift: float = ENCODER_FRAME_SHIFT, audio_seconds: float = float("inf")
    ) -> Hypothesis:
        """The same hypothesis with `text` and `words`, and those of its alternatives.

        Args:
          pieces: the tokenizer's pieces, index = token id; "▁" marks the start of a word.
          frame_shift: seconds per encoder frame.
          audio_seconds: length of the audio; later times are cut to it.
        """
        spans, words = self.spans(), []
        for text, first, end in self.spelling(pieces):
            times = (spans[first][0], spans[end - 1][1])
            start, stop = (round(min(frame * frame_shift, audio_seconds), 3) for frame in times)
            words.append(Word(text, start, stop, min(token.confidence for token in self.tokens[first:end])))
        return replace(
            self,
            words=tuple(words),
            text=" ".join(word.text for word in words),
            alternatives=tuple(h.with_words(pieces, frame_shift, audio_seconds) for h in self.alternatives),
        )

    def spelling(self, pieces: Sequence[str]) -> Sequence[tuple[str, int, int]]:
        """`output`; where there is none the words that the tokens spell, in the same form."""
        if self.output is not None:
            return self.output
        words: list[tuple[str, int, int]] = []
        text, first = "", 0
        for i, token in enumerate(self.tokens):
            if token.id >= len(pieces):
                raise ValueError(f"token id {token.id} is beyond the tokenizer's {len(pieces)} pieces")
            piece = pieces[token.id]
            if piece.startswith(WORD_START) or not text:
                if text:
                    words.append((text, first, i))
                text, first = "", i
            text += piece.replace(WORD_START, "")
        return words + [(text, first, len(self.tokens))] * bool(text)


def hypotheses_from_lists(
    utterance: Sequence[int],
    ids: Sequence[int],
    frames: Sequence[int],
    durations: Sequence[int],
    confidences: Sequence[float],
    scores: Sequence[float],
    num_frames: Sequence[int],
) -> list[Hypothesis]:
    """One Hypothesis per utterance from the emitted tokens of a whole batch.

    The first five lists run over all tokens, ordered within an utterance; `utterance` says whose each token
    is. The last two run over utterances.
    """
    tokens: list[list[Token]] = [[] for _ in num_frames]
    for owner, *fields in zip(utterance, ids, frames, durations, confidences):
        tokens[owner].append(Token(*fields))
    return [Hypothesis(tuple(t), score, length) for t, score, length in zip(tokens, scores, num_frames)]


@dataclass(frozen=True)
class Transcription:
    """The outcome for one input: its hypothesis, or a `failure`, one line that names the input.

    `name` is a path, or "array N" for the N-th input; `seconds` is the length of the audio, 0 where it cannot be read.
    """

    name: str
    seconds: float = 0.0
    hypothesis: Optional[Hypothesis] = None
    failure: str = ""


# --- writers: (utterance id, hypothesis) pairs in, lines out ---

Results = Iterable[tuple[str, Hypothesis]]


def text_lines(results: Results) -> list[str]:
    """Kaldi text: `id word word ...`."""
    return [f"{name} {hypothesis.text}".rstrip() for name, hypothesis in results]


def json_lines(results: Results) -> list[str]:
    """One JSON object per utterance: its id and every field of the hypothesis; a score of -infinity is null."""
    return [json.dumps({"id": name, **_plain(result)}, ensure_ascii=False) for name, result in results]


def _plain(result: Hypothesis) -> dict[str, Any]:
    score = result.score if math.isfinite(result.score) else None  # JSON has no infinity
    return {**asdict(result), "score": score, "alternatives": [_plain(h) for h in result.alternatives]}


def ctm_lines(results: Results, channel: str = "1") -> list[str]:
    """NIST CTM: `id channel start duration word confidence`, seconds with three decimals."""
    return [
        f"{name} {channel} {word.start:.3f} {word.end - word.start:.3f} {word.text} {word.confidence:.3f}"
        for name, hypothesis in results
        for word in hypothesis.words
    ]


def srt_lines(results: Results) -> list[str]:
    """SubRip subtitles of one recording; ValueError when there are several."""
    lines = []
    for number, (start, end, text) in enumerate(_cues(results), 1):
        lines += [str(number), f"{_clock(start, ',')} --> {_clock(end, ',')}", text, ""]
    return lines


def vtt_lines(results: Results) -> list[str]:
    """WebVTT subtitles of one recording; ValueError when there are several."""
    lines = ["WEBVTT", ""]
    for start, end, text in _cues(results):
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        lines += [f"{_clock(start, '.')} --> {_clock(end, '.')}", escaped, ""]
    return lines


WRITERS: dict[str, Callable[[Results], list[str]]] = {
    "txt": text_lines,
    "jsonl": json_lines,
    "ctm": ctm_lines,
    "srt": srt_lines,
    "vtt": vtt_lines,
}


def _cues(
    results: Results, max_characters: int = 42, max_seconds: float = 6.0, max_pause: float = 1.0
) -> list[tuple[float, float, str]]:
    """Words grouped into subtitle cues (start, end, text). A cue is never empty in time: a word of no length,
    which shares its frame with the next word, shares the cue as well."""
    results = list(results)
    if len(results) > 1:
        raise ValueError(f"subtitles are of one recording, not of {len(results)}: write a file for each")
    cues: list[tuple[float, float, str]] = []
    for word in (word for _, hypothesis in results for word in hypothesis.words):
        start, end, text = cues[-1] if cues else (0.0, 0.0, "")
        longer = f"{text} {word.text}"
        near = word.start - end <= max_pause and word.end - start <= max_seconds
        if cues and (near and len(longer) <= max_characters or end == start):
            cues[-1] = (start, word.end, longer)
        else:
            cues.append((word.start, word.end, word.text))
    return cues


def _clock(seconds: float, separator: str) -> str:
    """Seconds as HH:MM:SS<separator>mmm."""
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}{separator}{milliseconds % 1000:03d}"
