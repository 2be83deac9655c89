"""Sizes of the windows in which recordings and streams are encoded, and the options that set them.

Importing this file loads no torch, so that commands make their options of it quickly.
"""

from __future__ import annotations

from dataclasses import dataclass

from hainan_k2.config import check_options, option
from hainan_k2.frames import ENCODER_FRAME_SHIFT

SHORTEST_SILENCE = 0.4  # seconds that may end an utterance


def to_frames(seconds: float) -> int:
    """Encoder frames in so many seconds, rounded."""
    return round(seconds / ENCODER_FRAME_SHIFT)


@dataclass(frozen=True)
class Windows:
    """Sizes of windows in encoder frames of 80 ms.

    The first window keeps `first` frames, every later one `hop`; `left` and `right` are the context on either side of
    what is kept. Raises ValueError if one of them is below 1.
    """

    first: int
    hop: int
    left: int
    right: int

    def __post_init__(self) -> None:
        if min(self.first, self.hop, self.left, self.right) < 1:
            raise ValueError(f"{self}: all must be at least 1 encoder frame of {ENCODER_FRAME_SHIFT} s")

    @property
    def at_once(self) -> int:
        """Encoder frames of the longest input that is encoded at once."""
        return self.first + self.right

    @property
    def seconds(self) -> float:
        """Seconds of the longest input that is encoded at once."""
        return round(self.at_once * ENCODER_FRAME_SHIFT, 3)


@dataclass(frozen=True)
class WindowConfig:
    """How audio is encoded that is longer than a window.

    >>> WindowConfig(window=20.0, context=4.0).windows()
    Windows(first=200, hop=150, left=50, right=50)
    """

    window: float = option(
        20.0,
        "seconds that the encoder reads at once; longer audio is encoded in overlapping windows",
        above=0,
        at_most=3600,
    )
    context: float = option(
        1.0, "seconds that a window shares with each of its neighbours", at_least=ENCODER_FRAME_SHIFT
    )

    help_title = "long audio"

    def __post_init__(self) -> None:
        check_options(self)
        if not 2 * self.context + ENCODER_FRAME_SHIFT <= self.window:
            raise ValueError(f"window {self.window} leaves nothing between two contexts of {self.context} s")

    def windows(self) -> Windows:
        """The sizes in encoder frames, rounded."""
        window, context = to_frames(self.window), to_frames(self.context)
        return Windows(window - context, max(1, window - 2 * context), context, context)


DEFAULT_WINDOWS = WindowConfig().windows()


@dataclass(frozen=True)
class StreamConfig:
    """Windows of a stream, whose latency is hop + ahead, and the silence that ends an utterance."""

    hop: float = option(0.96, "seconds between two results", at_least=0.08, at_most=600)
    ahead: float = option(
        0.96,
        "seconds of audio after a sound that the encoder reads before the result is final",
        at_least=0,
        at_most=600,
    )
    behind: float = option(
        6.0, "seconds of earlier audio that the encoder reads again as context", at_least=0, at_most=600
    )

    endpoint_silence: float = option(
        0.0,
        "seconds without a token after a word that end the utterance, e.g. 1.2; 0: none",
        at_least=0,
        at_most=600,
    )

    help_title = "streams"

    def __post_init__(self) -> None:
        check_options(self)
        if 0 < self.endpoint_silence < SHORTEST_SILENCE:
            raise ValueError(
                f"endpoint_silence {self.endpoint_silence}: pauses within a sentence are as short; give at least "
                f"{SHORTEST_SILENCE} s, or 0 for no end points"
            )

    def windows(self) -> Windows:
        """The sizes in encoder frames, rounded."""
        hop = to_frames(self.hop)
        return Windows(hop, hop, to_frames(self.behind), to_frames(self.ahead))
