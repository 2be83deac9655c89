"""Mel filters of Slaney's scale and normalisation, as librosa has them: for Whisper's features and for NeMo's."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from hainan_k2.frontend.audio import SAMPLING_RATE


@cache
def slaney_filters(num_bins: int, fft_size: int) -> Tensor:
    """(num_bins, fft_size // 2 + 1) triangular filters over the frequencies of a transform of `fft_size` points.

    Their corners are num_bins + 2 points at equal distances on Slaney's mel scale from 0 to 8000 Hz (linear below 1000
    Hz, 200/3 Hz per mel; then 27 mels for a factor of 6.4); each triangle has unit area per Hz.

    >>> slaney_filters(80, 400).shape
    torch.Size([80, 201])
    """
    step = np.log(6.4) / 27.0

    def hertz(mel: np.ndarray) -> np.ndarray:
        return np.where(mel < 15.0, mel * 200.0 / 3.0, 1000.0 * np.exp(step * (mel - 15.0)))

    highest = 15.0 + np.log(SAMPLING_RATE / 2 / 1000.0) / step
    corners = hertz(np.linspace(0.0, highest, num_bins + 2))
    bins = np.linspace(0.0, SAMPLING_RATE / 2, fft_size // 2 + 1)
    rise = (bins - corners[:-2, None]) / np.diff(corners)[:-1, None]
    fall = (corners[2:, None] - bins) / np.diff(corners)[1:, None]
    triangles = np.maximum(0.0, np.minimum(rise, fall)) * (2.0 / (corners[2:] - corners[:-2]))[:, None]
    return torch.from_numpy(triangles.astype(np.float32))
