"""Whisper's log-mel features (arXiv 2212.04356, section 2.2), on the true length of an utterance."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from lhotse.features.base import FeatureExtractor, register_extractor
from torch import Tensor

from hainan_k2.frontend.audio import SAMPLING_RATE
from hainan_k2.frontend.features import FRAME_SHIFT, Samples, one_channel

WINDOW = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms
NUM_BINS = 80
DYNAMIC_RANGE = 8.0  # decades: what lies further below the loudest bin of the utterance is cut


@dataclass
class LogMelConfig:
    """Nothing can be chosen; lhotse stores the name of the extractor with it."""

    num_mel_bins: int = NUM_BINS

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> LogMelConfig:
        return LogMelConfig(**data)


@register_extractor
class LogMel(FeatureExtractor):
    """lhotse feature extractor: samples (N,) at 16 kHz to (T, 80), T = round(N / 160), about -1 to 2.

    log10 of mel energies (Slaney's scale and normalisation, periodic Hann window of 25 ms), limited to 8 decades below
    the utterance's loudest bin, then (x + 4) / 4. Whisper takes that loudest bin, and the reflection at the end, from
    30 s filled up with silence; here both come from the utterance.
    """

    name = "hainan-log-mel"
    config_type = LogMelConfig

    @property
    def frame_shift(self) -> float:
        return FRAME_SHIFT

    def feature_dim(self, sampling_rate: int) -> int:
        return NUM_BINS

    def extract(self, samples: Samples, sampling_rate: int) -> Samples:
        """(N,) or (1, N) -> (T, 80) float32; an array for an array, a tensor for a tensor.

        Raises ValueError for another sampling rate than 16 kHz, more than one channel or less than 25 ms.
        """
        features = log_mel(one_channel(samples, sampling_rate))
        return features if isinstance(samples, Tensor) else features.numpy()


def log_mel(waveform: Tensor) -> Tensor:
    """(N,) float32 at 16 kHz -> (round(N / 160), 80)."""
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
    """(80, 201) triangles between 82 points at equal distances on Slaney's mel scale from 0 to 8000 Hz, each of unit
    area per Hz: linear below 1000 Hz (200/3 Hz per mel), then 27 mels for a factor of 6.4."""
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
