"""NeMo's log mel energies, as Parakeet and other FastConformer models of NeMo and transformers take them.

    samples -> pre-emphasis -> |STFT|^2 (25 ms in 512 points, every 10 ms) -> Slaney's mel filters -> log(x + 2^-24)

NeMo's `AudioToMelSpectrogramPreprocessor` without dither and transformers' `ParakeetFeatureExtractor` give these
values. Frame i is centred at sample 160 i, with silence before and after the recording. N samples give floor(N / 160)
frames, while Kaldi's filter banks and Whisper's features have round(N / 160).
"""

from __future__ import annotations

import torch
from torch import Tensor

from hainan_k2.frontend.mel_filters import slaney_filters

WINDOW, HOP, FFT = 400, 160, 512  # samples
LOG_GUARD = 2.0**-24
PREEMPHASIS = 0.97
DEVIATION_GUARD = 1e-5  # added to the standard deviation of a bin
WINDOWS = {"hann": torch.hann_window, "hamming": torch.hamming_window}
MAX_BINS = 256  # with more, filters fall between two frequencies of the transform and are empty


def nemo_mel(waveform: Tensor, num_bins: int = 80, window: str = "hann", preemphasis: float = PREEMPHASIS) -> Tensor:
    """Log mel energies, natural log, not normalised, of samples at 16 kHz.

    Args:
      waveform: (N,) float32, N >= 400, on any device.
      num_bins: F; published models have 80 or 128.
      window: hann or hamming, symmetric.
      preemphasis: share of the sample before that is subtracted from each sample.
    Returns:
      (T, F) float32, T = floor(N / 160).

    >>> nemo_mel(torch.zeros(16100)).shape
    torch.Size([100, 80])
    """
    emphasised = torch.cat([waveform[:1], waveform[1:] - preemphasis * waveform[:-1]])
    weights = WINDOWS[window](WINDOW, periodic=False, device=waveform.device)
    spectrum = torch.stft(emphasised, FFT, HOP, WINDOW, weights, pad_mode="constant", return_complex=True)
    power = torch.view_as_real(spectrum[:, : len(waveform) // HOP]).square().sum(-1)
    energies = slaney_filters(num_bins, FFT).to(waveform.device) @ power
    return (energies + LOG_GUARD).log().T.contiguous()


def normalise_per_feature(features: Tensor) -> Tensor:
    """One utterance (T, F) to zero mean and unit variance in every bin (T, F): NeMo's `per_feature`.

    It divides by the deviation plus 1e-5, where `hainan_k2.frontend.normalise` has a floor of 0.1.
    """
    centred = features - features.mean(dim=0)
    variance = centred.square().sum(dim=0) / max(len(features) - 1, 1)
    return centred / (variance.sqrt() + DEVIATION_GUARD)
