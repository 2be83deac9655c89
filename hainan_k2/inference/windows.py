"""Encode recordings of any length in bounded memory: overlapping windows, of whose outputs only the middle is kept.

    window 0   |====== kept ======|- right -|
    window 1          |-- left --|=== kept ===|- right -|
    window 2                     |-- left --|=== kept ===|- right -|
    ...

The kept frames, joined, are one encoder output for the whole recording; an hour has 45,000 frames. Searches read it
like that of a short utterance: tokens, durations and the predictor's state cross the seams, and no texts are merged.
Audio that fits into the first window is encoded at once, exactly as without windows.

Features are computed window by window. So whatever depends on the whole input belongs to a window: the normalisation
of fbank and NeMo's features and the loudest bin of log-mel features, which in training belong to an utterance.

Normalising by all audio so far, or by the whole recording in a second pass, was tried. The encoder output comes nearer
to that of one pass over the recording, but the text does not get better, and gets worse where the level changes: a
window is as long as the utterances of training. WER of ar-greedy with the synthetic demo model on 5 minutes of its test
set, joined in two random orders, in windows of 20 s (AMD EPYC, November 2026):

    statistics of                        the window    all so far    the recording    one pass, no windows
    level as it is                       39.0, 31.9    39.5, 32.4    40.5, 32.7       39.9, 35.3
    rising and falling by 20 dB          38.1, 31.7    44.1, 38.5    45.6, 40.9       45.9, 43.4
    change of the output, as it is       23 %          20 %          19 %
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Optional

import numpy as np
import torch
from torch import Tensor

from hainan_k2.frames import ENCODER_FRAME_SHIFT
from hainan_k2.frontend.audio import SAMPLING_RATE
from hainan_k2.frontend.log_mel import DYNAMIC_RANGE
from hainan_k2.frontend.spec import FeatureSpec
from hainan_k2.inference.window_sizes import Windows
from hainan_k2.model.hainan import Hainan

FRAME = round(ENCODER_FRAME_SHIFT * SAMPLING_RATE)  # samples of an encoder frame


@dataclass(frozen=True)
class Window:
    """Input of the encoder: samples (N,) or features (T, F).

    Of its output the first `left` frames belong to the window before, the next `keep` are kept; `keep` is None in the
    last window, which keeps all that follow.
    """

    input: np.ndarray
    left: int
    keep: Optional[int]


def cut(blocks: Iterable[np.ndarray], windows: Windows, frame: int = FRAME) -> Iterator[Window]:
    """Cut a recording into windows, each as soon as its input is there.

    The windows depend on the input alone, not on the sizes of the blocks. Without input there is no window.

    Args:
      blocks: mono 16 kHz samples, each (N,); or feature frames, each (T, F), N and T being of any size.
      frame: samples, or feature frames, per encoder frame.
    """
    held: list[np.ndarray] = []  # the blocks from encoder frame `begin` on
    size, begin = 0, 0
    kept, hop = 0, windows.first  # encoder frames kept already, and to be kept of the next window
    for block in blocks:
        held.append(block)
        size += len(block)
        while size > (kept + hop + windows.right - begin) * frame:  # not >=: the last window ends with the input
            joined = held[0] if len(held) == 1 else np.concatenate(held)
            yield Window(joined[: (kept + hop + windows.right - begin) * frame], kept - begin, hop)
            kept, hop = kept + hop, windows.hop
            start = max(0, kept - windows.left)
            held = [joined[(start - begin) * frame :]]
            size, begin = len(held[0]), start
    if size:
        yield Window(np.concatenate(held), kept - begin, None)


@torch.no_grad()
def encode_windows(
    model: Hainan, spec: FeatureSpec, blocks: Iterable[np.ndarray], windows: Windows
) -> Iterator[tuple[Tensor, Tensor]]:
    """Encode audio window by window: the frames (T, C) that are kept, and those (R, C) that the next window will give.

    Args:
      model: in eval mode; its encoder takes features of `spec`.
      blocks: mono 16 kHz audio, each (N,).
    Raises:
      ValueError: if the whole is shorter than 25 ms.
    """
    for window in cut(blocks, windows):
        yield _encode_window(model, spec.compute(window.input)[None], window)


@torch.no_grad()
def _encode_window(model: Hainan, features: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    device = next(model.parameters()).device
    lens = torch.tensor([features.shape[1]], device=device)
    encoded = model.encoder(features.to(device), lens)[0][0, window.left :]
    return encoded[: window.keep], encoded[len(encoded) if window.keep is None else window.keep :]


def encode_audio(
    model: Hainan, spec: FeatureSpec, blocks: Iterable[np.ndarray], windows: Windows
) -> tuple[Tensor, Tensor]:
    """Encode a whole recording: (1, T, C) and lens (1,). Arguments and errors are those of `encode_windows`."""
    return _join(frames for frames, _ in encode_windows(model, spec, blocks, windows))


def encode_features(model: Hainan, spec: FeatureSpec, features: np.ndarray, windows: Windows) -> tuple[Tensor, Tensor]:
    """Encode a recording whose features (T, F) are stored: (1, T', C) and lens (1,), in the windows of `encode_audio`.

    The features are cut where `encode_audio` cuts the samples, and every window is normalised. The two differ in this:

    - features of 10 ms: the first and last frame of a window see the neighbouring samples here, and mirrored ones or
      silence there; stored features have the precision of their storage (lilcom: about 0.01).
    - log-mel: values 8 decades below the loudest bin of the recording are cut off already, so that a quiet window has
      a higher floor here.
    - states of a pretrained encoder: each was computed from the whole recording. Only the layers after it see windows.
    """
    per_frame = 4 if spec.kind == "states" else 8  # states of 20 ms, features of 10 ms
    pieces = cut([features], windows, per_frame)
    return _join(_encode_window(model, limit_to_window(torch.from_numpy(w.input), spec)[None], w)[0] for w in pieces)


def limit_to_window(features: Tensor, spec: FeatureSpec) -> Tensor:
    """Stored features (T, F) as the features of an utterance of their own: normalised, or limited in range."""
    if spec.kind == "log-mel":
        return torch.maximum(features, features.max() - DYNAMIC_RANGE / 4)
    return spec.normalise(features)


def _join(parts: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    kept = [frames.clone() for frames in parts]
    if not kept:
        raise ValueError("no samples: there is nothing to encode")
    encoded = torch.cat(kept)[None]
    return encoded, torch.tensor([encoded.shape[1]], device=encoded.device)
