"""Whisper's log-mel features (arXiv 2212.04356, section 2.2), computed on the true length of an utterance."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from hainan_k2.frontend.audio import SAMPLING_RATE

WINDOW = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms
NUM_BINS = 80
DYNAMIC_RANGE = 8.0  # decades: energies further below the loudest bin of the utterance are raised to that level


def log_mel(waveform: Tensor) -> Tensor:
    """log10 of mel energies of samples at 16 kHz, limited to 8 decades below the loudest bin, then (x + 4) / 4.

    Mel filters of Slaney's scale and normalisation, a periodic Hann window of 25 ms every 10 ms. Whisper pads every
    input with silence to 30 s and takes the loudest bin, and the reflection at the end, from the padded signal; here
    both come from the utterance.

    Args:
      waveform: (N,) float32, N >= 400, on any device.
    Returns:
      (T, 80) float32, T = round(N / 160), values of about -1 to 2.

    >>> log_mel(torch.zeros(16000)).shape
    torch.Size([100, 80])
    """
    frames = (len(waveform) + HOP // 2) // HOP
    waveform = torch.nn.functional.pad(waveform, (0, max(0, frames * HOP - len(waveform))))
    spectrum = torch.stft(
        waveform, WINDOW, HOP, window=torch.hann_window(WINDOW, device=waveform.device), return_complex=True
    )
    energies = mel_filters().to(waveform.device) @ spectrum[:, :frames].abs().square()
    decades = energies.clamp(min=1e-10).log10()
    return ((torch.maximum(decades, decades.max() - DYNAMIC_RANGE) + 4.0) / 4.0).T.contiguous()


@cache
def mel_filters() -> Tensor:
    """(80, 201) triangular filters over the bins of a 400-point transform.

    Their corners are 82 points at equal distances on Slaney's mel scale from 0 to 8000 Hz (linear below 1000 Hz, 200/3
    Hz per mel; then 27 mels for a factor of 6.4); each triangle has unit area per Hz.
    """
    step = np.log(6.4) / 27.0

    def hertz(mel: np.ndarray) -> np.ndarray:
        return np.where(mel < 15.0, mel * 200.0 / 3.0, 1000.0 * np.exp(step * (mel - 15.0)))

    highest = 15.0 + np.log(SAMPLING_RATE / 2 / 1000.0) / step
    corners = hertz(np.linspace(0.0, highest, NUM_BINS + 2))
    bins = np.linspace(0.0, SAMPLING_RATE / 2, WINDOW // 2 + 1)
    rise = (bins - corners[:-2, None]) / np.diff(corners)[:-1, None]
    fall = (corners[2:, None] - bins) / np.diff(corners)[1:, None]
    triangles = np.maximum(0.0, np.minimum(rise, fall)) * (2.0 / (corners[2:] - corners[:-2]))[:, None]
    return torch.from_numpy(triangles.astype(np.float32))
