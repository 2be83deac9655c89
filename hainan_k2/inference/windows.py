"""Recordings of any length through an encoder in bounded memory: it hears overlapping windows, and of each window's
output only the middle is kept.

    window 0   |====== kept ======|- right -|
    window 1          |-- left --|=== kept ===|- right -|
    window 2                     |-- left --|=== kept ===|- right -|
    ...

What is kept, joined, is one encoder output for the whole recording, an hour being 45,000 frames. So every search runs
over it as over a sentence: tokens and their durations, and the predictor's state, cross the seams, and no texts have
to be merged. Audio that fits into the first window is heard as a whole, exactly as without windows.

Features are made window by window. So is what depends on the whole of what is heard: the normalisation of fbank
features and the loudest bin of log-mel features are each window's own, as they were each utterance's in training.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Optional

import numpy as np
import torch
from torch import Tensor

from hainan_k2.config import check_options, option
from hainan_k2.frames import ENCODER_FRAME_SHIFT
from hainan_k2.frontend.audio import SAMPLING_RATE
from hainan_k2.frontend.spec import FeatureSpec
from hainan_k2.model.hainan import Hainan

FRAME = round(ENCODER_FRAME_SHIFT * SAMPLING_RATE)  # samples of an encoder frame


@dataclass(frozen=True)
class Windows:
    """How a recording is cut, in encoder frames of 80 ms: what the first window keeps, what every later one keeps, and
    what is heard with it before and after."""

    first: int
    hop: int
    left: int
    right: int

    def __post_init__(self):
        if min(self.first, self.hop, self.left, self.right) < 1:
            raise ValueError(f"{self}: all must be at least 1 encoder frame of {ENCODER_FRAME_SHIFT} s")

    @property
    def samples(self) -> int:
        """Audio of at most so many samples is heard at once."""
        return (self.first + self.right) * FRAME


@dataclass(frozen=True)
class WindowConfig:
    """How the encoder hears what is too long to be heard at once."""

    window: float = option(
        20.0,
        "seconds that the encoder hears at once; longer audio is cut into overlapping windows",
        above=0,
        at_most=3600,
    )
    context: float = option(
        4.0, "seconds at either end of a window that are heard but left to its neighbour", at_least=ENCODER_FRAME_SHIFT
    )

    def __post_init__(self):
        check_options(self)
        if not 2 * self.context + ENCODER_FRAME_SHIFT <= self.window:
            raise ValueError(f"window {self.window} leaves nothing between two contexts of {self.context} s")

    def windows(self) -> Windows:
        window, context = to_frames(self.window), to_frames(self.context)
        return Windows(window - context, max(1, window - 2 * context), context, context)


def to_frames(seconds: float) -> int:
    """Encoder frames in so many seconds, rounded."""
    return round(seconds / ENCODER_FRAME_SHIFT)


@dataclass(frozen=True)
class Window:
    """Samples (N,) that the encoder hears. Of its output the first `left` frames are the last window's, the next
    `keep` are kept, all that follow if `keep` is None."""

    samples: np.ndarray
    left: int
    keep: Optional[int]


def cut(blocks: Iterable[np.ndarray], windows: Windows) -> Iterator[Window]:
    """The windows of mono 16 kHz audio that comes in blocks (N,) of any sizes, each as soon as its samples are there.

    What is cut depends on the samples alone, not on the sizes of the blocks. Without any samples there is no window.
    """
    held, size = [], 0  # blocks, and their samples
    begin, kept, hop = 0, 0, windows.first  # frames: where what is held begins, and how many are kept already
    for block in blocks:
        held.append(block)
        size += len(block)
        while size > (kept + hop + windows.right - begin) * FRAME:  # not >=: the last window ends with the audio
            samples = held[0] if len(held) == 1 else np.concatenate(held)
            yield Window(samples[: (kept + hop + windows.right - begin) * FRAME], kept - begin, hop)
            kept, hop = kept + hop, windows.hop
            start = max(0, kept - windows.left)
            held = [samples[(start - begin) * FRAME :]]
            size, begin = len(held[0]), start
    if size:
        yield Window(np.concatenate(held), kept - begin, None)


def read_features(samples: np.ndarray, spec: FeatureSpec) -> Tensor:
    """Mono 16 kHz samples (N,) to features (1, T, F), as a batch of the one utterance has them.

    Raises ValueError where there are less than 25 ms.
    """
    return spec.compute(samples)[None]


@torch.no_grad()
def encode_windows(
    model: Hainan, spec: FeatureSpec, blocks: Iterable[np.ndarray], windows: Windows
) -> Iterator[tuple[Tensor, Tensor]]:
    """Encoder output of every window: (T, C) that is kept, (R, C) that is the next window's to say.

    Args: blocks: mono 16 kHz audio, each (N,); model: in eval mode, hears features of `spec`.
    Raises: ValueError where the whole is shorter than 25 ms.
    """
    device = next(model.parameters()).device
    for window in cut(blocks, windows):
        features = read_features(window.samples, spec).to(device)
        encoded = model.encoder(features, torch.tensor([features.shape[1]], device=device))[0][0, window.left :]
        yield encoded[: window.keep], encoded[len(encoded) if window.keep is None else window.keep :]


def encode_audio(
    model: Hainan, spec: FeatureSpec, blocks: Iterable[np.ndarray], windows: Windows
) -> tuple[Tensor, Tensor]:
    """A whole recording: encoder output (1, T, C) and lens (1,). Arguments and errors as of encode_windows."""
    kept = [frames.clone() for frames, _ in encode_windows(model, spec, blocks, windows)]
    if not kept:
        raise ValueError("no samples: there is nothing to encode")
    encoded = torch.cat(kept)[None]
    return encoded, torch.tensor([encoded.shape[1]], device=encoded.device)
