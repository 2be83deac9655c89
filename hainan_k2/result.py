"""What every search returns: Token, Word, Round, Hypothesis; and Transcription, what a Recognizer returns.

A token lasts from its frame to `frame + max(1, duration)`, cut at the frame of the next token and at the end of the
utterance. So times never run backwards, words never overlap, and the times of an utterance do not depend on the rest
of its batch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Optional
from unicodedata import category

from hainan_k2.frames import ENCODER_FRAME_SHIFT

WORD_START = "▁"  # begins the first piece of a word, as in SentencePiece
_SYMBOL = re.compile(r"<\|[^|<>]*\|>|<blk>|<pad>|</?s>")  # pieces that are no text, such as <|nospeech|>
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")  # a byte of a letter that has no piece of its own


@lru_cache(1 << 16)
def letters(piece: str) -> Optional[bytes]:
    """What a piece adds to the text, in UTF-8, without the mark of a word's start; None for a symbol.

    >>> letters("▁he"), letters("<0xE2>"), letters("<|nospeech|>")
    (b'he', b'\\xe2', None)
    """
    if not piece.startswith("<"):
        return piece.replace(WORD_START, "").encode("utf-8")
    byte = _BYTE.fullmatch(piece)
    if byte:
        return bytes([int(byte[1], 16)])
    return None if _SYMBOL.fullmatch(piece) else piece.replace(WORD_START, "").encode("utf-8")


@lru_cache(1 << 16)
def is_spoken(piece: str) -> bool:
    """Whether a piece has more than punctuation and the mark of a word's start.

    >>> is_spoken("▁he"), is_spoken("'"), is_spoken("▁")
    (True, False, False)
    """
    written = letters(piece)
    return any(not category(letter).startswith("P") for letter in (written or b"").decode("utf-8", "replace"))


@dataclass(frozen=True)
class Token:
    """One emitted token: its `id`, the encoder `frame` that emitted it (from 0), its predicted `duration` in encoder
    frames (may be 0), and its `confidence` in [0, 1]."""

    id: int
    frame: int
    duration: int
    confidence: float


@dataclass(frozen=True)
class Word:
    """A word with `start` and `end` in seconds. Its `confidence` in [0, 1] is the lowest of its tokens, or, where the
    model directory has a calibration (hainan_k2.confidence), the probability that the word is correct.

    A word ends with its last token that is more than punctuation: models emit commas and full stops in the pause after
    the word.
    """

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Round:
    """One round of SAR refinement: the token `ids` after it, and how many tokens it changed, deleted and inserted."""

    ids: tuple[int, ...]
    substitutions: int
    deletions: int
    insertions: int


@dataclass(frozen=True)
class Hypothesis:
    """The result of a search for one utterance.

    Attributes:
      tokens: the emitted tokens without blanks, in order of their frames.
      score: a natural logarithm; each search documents what it sums.
      num_frames: length of the utterance in encoder frames.
      words, text: empty until `with_words`.
      alternatives: the n-best list, this hypothesis first; empty where the search makes none.
      rounds: one entry per round of refinement.
      note: why a search fell back to another result; empty where it did not.
      output: the words of a word graph or of a grammar's output side, where they differ from what the tokens spell.
        Each entry is (word, index of its first token, index after its last token).

    >>> hypothesis = Hypothesis((Token(1, 2, 2, 0.9), Token(2, 4, 1, 0.6)), score=-1.5, num_frames=10)
    >>> hypothesis.with_words(["<blk>", "▁he", "llo"]).words
    (Word(text='hello', start=0.16, end=0.4, confidence=0.6),)
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
        """(first frame, frame after the last) of every token: ascending, not overlapping, within `num_frames`."""
        limits = [token.frame for token in self.tokens[1:]] + [self.num_frames]
        return [
            (token.frame, min(token.frame + max(1, token.duration), limit)) for token, limit in zip(self.tokens, limits)
        ]

    @property
    def start(self) -> float:
        """Start of the first word in seconds; 0 without words."""
        return self.words[0].start if self.words else 0.0

    @property
    def end(self) -> float:
        """End of the last word in seconds; 0 without words."""
        return self.words[-1].end if self.words else 0.0

    def with_words(
        self, pieces: Sequence[str], frame_shift: float = ENCODER_FRAME_SHIFT, audio_seconds: float = float("inf")
    ) -> Hypothesis:
        """A copy with `text` and `words` filled in, also in its alternatives.

        Args:
          pieces: the tokenizer's pieces by token id; "▁" marks the start of a word.
          frame_shift: seconds per encoder frame.
          audio_seconds: length of the audio; later times are cut to it.

        Raises:
          ValueError: for a token id that has no piece.
        """
        spans, words = self.spans(), []
        for text, first, end in self.spelling(pieces):
            spoken = (i for i in range(end - 1, first, -1) if is_spoken(pieces[self.tokens[i].id]))
            times = (spans[first][0], spans[next(spoken, first)][1])
            start, stop = (round(min(frame * frame_shift, audio_seconds), 3) for frame in times)
            written = [token for token in self.tokens[first:end] if letters(pieces[token.id]) is not None]
            words.append(Word(text, start, stop, min(token.confidence for token in written)))
        return replace(
            self,
            words=tuple(words),
            text=" ".join(word.text for word in words),
            alternatives=tuple(h.with_words(pieces, frame_shift, audio_seconds) for h in self.alternatives),
        )

    def spelling(self, pieces: Sequence[str]) -> Sequence[tuple[str, int, int]]:
        """The words as (word, index of its first token, index after its last token): `output` if there is one, else
        what the tokens' pieces spell."""
        if self.output is not None:
            return self.output
        words: list[tuple[bytes, int, int]] = []
        text, first, end = b"", 0, 0
        for i, token in enumerate(self.tokens):
            if token.id >= len(pieces):
                raise ValueError(f"token id {token.id} is beyond the tokenizer's {len(pieces)} pieces")
            written = letters(pieces[token.id])
            if written is None:
                continue
            if pieces[token.id].startswith(WORD_START) or not text:
                words.append((text, first, end))
                text, first = b"", i
            text, end = text + written, i + 1
        decoded = (("".join(t.decode("utf-8", "replace").split()), a, b) for t, a, b in [*words, (text, first, end)])
        return [(word, a, b) for word, a, b in decoded if word]


def hypotheses_from_lists(
    utterance: Sequence[int],
    ids: Sequence[int],
    frames: Sequence[int],
    durations: Sequence[int],
    confidences: Sequence[float],
    scores: Sequence[float],
    num_frames: Sequence[int],
) -> list[Hypothesis]:
    """Hypotheses of a batch from flat lists of its tokens.

    Args:
      utterance: for each token the index of its utterance in the batch; tokens of an utterance are in order.
      ids, frames, durations, confidences: of each token, as in `Token`.
      scores, num_frames: of each utterance, as in `Hypothesis`.

    Returns:
      One Hypothesis per utterance, with no tokens where `utterance` does not name it.
    """
    tokens: list[list[Token]] = [[] for _ in num_frames]
    for owner, token_id, frame, duration, confidence in zip(utterance, ids, frames, durations, confidences):
        tokens[owner].append(Token(token_id, frame, duration, confidence))
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
