"""Whisper's log-mel features (arXiv 2212.04356, section 2.2), computed on the true length of an utterance."""

from __future__ import annotations

import torch
from torch import Tensor

from hainan_k2.frontend.mel_filters import slaney_filters

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
    energies = slaney_filters(NUM_BINS, WINDOW).to(waveform.device) @ spectrum[:, :frames].abs().square()
    decades = energies.clamp(min=1e-10).log10()
    return ((torch.maximum(decades, decades.max() - DYNAMIC_RANGE) + 4.0) / 4.0).T.contiguous()
