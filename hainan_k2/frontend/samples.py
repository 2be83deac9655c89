"""The samples that features are computed from: one channel, 16 kHz, at least one frame of 25 ms."""

from __future__ import annotations

from typing import Union

import numpy as np
import torch
from torch import Tensor

from hainan_k2.frontend.audio import SAMPLING_RATE

FRAME_LENGTH = 0.025  # seconds
MIN_SAMPLES = round(FRAME_LENGTH * SAMPLING_RATE)  # one frame: its edges are mirrored, so it must not be empty

Samples = Union[np.ndarray, Tensor]


def to_waveform(samples: Samples, sampling_rate: int = SAMPLING_RATE) -> Tensor:
    """Samples (N,) or (1, N), an array or a tensor, as a float32 tensor (N,).

    Raises ValueError for a sampling rate other than 16 kHz, more than one channel, or less than 25 ms.
    """
    if sampling_rate != SAMPLING_RATE:
        raise ValueError(f"features are made of {SAMPLING_RATE} Hz audio, not {sampling_rate} Hz")
    waveform = torch.as_tensor(samples, dtype=torch.float32)
    if waveform.ndim == 2 and waveform.shape[0] == 1:
        waveform = waveform[0]
    if waveform.ndim != 1 or len(waveform) < MIN_SAMPLES:
        raise ValueError(
            f"samples of shape {tuple(waveform.shape)}: there must be one channel of at "
            f"least {MIN_SAMPLES} samples (25 ms)"
        )
    return waveform
