"""Recognition while somebody speaks: samples come in pieces, words go out.

The encoder hears windows (hainan_k2.inference.windows) of `hop` seconds more each time, with what was said before and
`ahead` seconds of what comes after; a greedy search goes on from where it stood. A word is final when the next one has
begun: no later audio changes it then. Until then, and as far as the frames ahead tell, it is part of `partial`.

Latency: a sound is heard `hop + ahead` seconds after it was made at most, plus the time that a window takes to compute;
`partial` has it after `hop` at most. So a word is final at most `hop + ahead` seconds after the next one has begun.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import BinaryIO, TextIO

import numpy as np

from hainan_k2.config import option
from hainan_k2.frames import ENCODER_FRAME_SHIFT
from hainan_k2.frontend.audio import SAMPLING_RATE, Counted
from hainan_k2.frontend.spec import FeatureSpec
from hainan_k2.inference.windows import Windows, encode_windows, to_frames
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import WORD_START, Hypothesis, Token, Word
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.streaming import LiveGreedy

METHODS = ("ar-greedy", "nar-greedy")  # those that go on from where they stood
PIECE = 3200  # bytes read at a time at most: 0.1 s
BEGIN = 12  # bytes that tell a format
CONTAINERS = (  # format, what its files hold, and at which byte; bare PCM holds these by chance once in 2^32 streams
    ("WAV", b"RIFF", 0),
    ("WAV", b"RIFX", 0),
    ("WAV", b"RF64", 0),
    ("W64", b"riff", 0),
    ("FLAC", b"fLaC", 0),
    ("Ogg", b"OggS", 0),
    ("MP3", b"ID3\x02", 0),
    ("MP3", b"ID3\x03", 0),
    ("MP3", b"ID3\x04", 0),
    ("AIFF", b"FORM", 0),
    ("AU", b".snd", 0),
    ("CAF", b"caff", 0),
    ("NIST SPHERE", b"NIST_1A", 0),
    ("VOC", b"Creative Voi", 0),
    ("MPEG-4", b"ftyp", 4),
    ("Matroska or WebM", b"\x1aE\xdf\xa3", 0),
    ("AMR", b"#!AMR", 0),
    ("WavPack", b"wvpk", 0),
    ("ASF", b"0&\xb2u", 0),
)


@dataclass(frozen=True)
class LiveConfig:
    """What the encoder hears of a stream: latency is hop + ahead."""

    hop: float = option(0.96, "--stream: seconds between two results", at_least=0.08, at_most=600)
    ahead: float = option(
        0.96,
        "--stream: seconds of audio after a sound that the encoder hears before it is final",
        at_least=0,
        at_most=600,
    )
    behind: float = option(6.0, "--stream: seconds of audio that it hears again, for context", at_least=0, at_most=600)

    def windows(self) -> Windows:
        hop = to_frames(self.hop)
        return Windows(hop, hop, to_frames(self.behind), to_frames(self.ahead))


@dataclass(frozen=True)
class Update:
    """After a window: `seconds` of audio that are decided, the `words` that became final with it, and `partial`, what
    was heard after them and may still change."""

    seconds: float
    words: tuple[Word, ...]
    partial: str


class LiveWords:
    """Tokens to words as they become final. It holds the last word's tokens only."""

    def __init__(self, pieces: Sequence[str]):
        self.pieces = pieces
        self.pending: list[Token] = []

    def accept(self, tokens: Sequence[Token], num_frames: int) -> tuple[Word, ...]:
        """The words that are final with these tokens: all but the last one."""
        self.pending += tokens
        starts = [i for i, token in enumerate(self.pending) if self.pieces[token.id].startswith(WORD_START)]
        last = starts[-1] if starts else 0
        complete = len(self._words(self.pending[:last], num_frames))
        words = self._words(self.pending, num_frames)[:complete]
        self.pending = self.pending[last:]
        return words

    def rest(self, tokens: Sequence[Token], num_frames: int, seconds: float = float("inf")) -> tuple[Word, ...]:
        """The words of what is not final and `tokens` after it."""
        return self._words([*self.pending, *tokens], num_frames, seconds)

    def _words(self, tokens: Sequence[Token], num_frames: int, seconds: float = float("inf")) -> tuple[Word, ...]:
        return Hypothesis(tuple(tokens), 0.0, num_frames).with_words(self.pieces, audio_seconds=seconds).words


def check_method(method: str) -> None:
    """ValueError for a method that cannot search audio which has not ended yet."""
    if method not in METHODS:
        raise ValueError(
            f"method {method} needs the end of the audio before it begins; a stream is searched by "
            + " or ".join(METHODS)
        )


def transcribe_live(
    model: Hainan,
    spec: FeatureSpec,
    pieces: Sequence[str],
    blocks: Iterable[np.ndarray],
    config: LiveConfig,
    options: SearchConfig,
    method: str = "ar-greedy",
) -> Iterator[Update]:
    """An Update after every window of mono 16 kHz audio `blocks`, each (N,), and one at the end.

    The words of all updates are those of `method` over hainan_k2.inference.windows.encode_audio with the same windows,
    whatever the sizes of the blocks. Raises ValueError for another method than METHODS, and where the audio is
    shorter than 25 ms.
    """
    check_method(method)
    heard = Counted(blocks)
    search, words = LiveGreedy(model, options, method == "ar-greedy"), LiveWords(pieces)
    for kept, ahead in encode_windows(model, spec, heard, config.windows()):
        final = words.accept(search.accept(kept), search.heard)
        guess = copy.copy(search)
        partial = words.rest(guess.accept(ahead), guess.heard)
        decided = min(
            search.heard * ENCODER_FRAME_SHIFT, heard.samples / SAMPLING_RATE
        )  # the last frame may be a part of one
        yield Update(round(decided, 3), final, " ".join(word.text for word in partial))
    seconds = heard.samples / SAMPLING_RATE
    yield Update(round(seconds, 3), words.rest([], search.heard, seconds), "")


def container(begin: bytes) -> str:
    """The format of a file that begins with these 12 bytes, "" where it is none that is known."""
    for name, mark, place in CONTAINERS:
        if begin[place : place + len(mark)] == mark:
            return name
    return ""


def pcm_blocks(stream: BinaryIO) -> Iterator[np.ndarray]:
    """16-bit little-endian PCM as float32 blocks (N,) in [-1, 1), as it arrives. ValueError if it ends within a
    sample, or begins like a file of another format."""
    odd, begin = b"", b""
    while len(begin) < BEGIN:
        content = stream.read1(BEGIN - len(begin))
        if not content:
            break
        begin += content
    name = container(begin)
    if name:
        raise ValueError(
            f"standard input is a {name} file: a stream is bare 16-bit PCM, mono, 16 kHz, as of "
            "ffmpeg -i FILE -f s16le -ac 1 -ar 16000 -"
        )
    content = begin
    while content:
        content = odd + content
        whole = len(content) // 2 * 2
        odd = content[whole:]
        if whole:
            yield np.frombuffer(content[:whole], "<i2").astype(np.float32) / 32768
        content = stream.read1(PIECE)
    if odd:
        raise ValueError("standard input ends within a sample: a stream is 16-bit PCM, two bytes for each")


def show(updates: Iterable[Update], out: TextIO) -> None:
    """Every update as a line of JSON; on a terminal, final words as text and the partial ones after them, which are
    written over."""
    for update in updates:
        if not out.isatty():
            out.write(json.dumps(asdict(update), ensure_ascii=False) + "\n")
        else:
            final = "".join(word.text + " " for word in update.words)
            out.write(f"\r\x1b[K{final}" + ("\n" if final else "") + update.partial)
        out.flush()
