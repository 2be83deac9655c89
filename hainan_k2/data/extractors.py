"""lhotse feature extractors over hainan_k2.frontend, and which stored features serve as which kind of FeatureSpec.

lhotse stores the registered name of an extractor (hainan-fbank, hainan-log-mel) with the features that it computed.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, Optional

import numpy as np
import torch
from lhotse.features.base import FeatureExtractor, register_extractor
from lhotse.utils import EPSILON
from torch import Tensor

from hainan_k2.frames import FEATURE_FRAME_SHIFT
from hainan_k2.frontend.fbank import check_mel_bins, fbank
from hainan_k2.frontend.log_mel import NUM_BINS, log_mel
from hainan_k2.frontend.normalise import normalise, normalise_batch
from hainan_k2.frontend.samples import Samples, to_waveform
from hainan_k2.frontend.spec import FeatureSpec

# Types of stored features that serve as a kind of FeatureSpec; the first is the type that we store. lhotse's own filter
# banks, with its default settings, differ from ours by at most 2.5e-3.
STORED_TYPES = {
    "fbank": ("hainan-fbank", "kaldi-fbank", "kaldifeat-fbank", "fbank"),
    "log-mel": ("hainan-log-mel",),
    "states": ("hainan-whisper-states",),
    "encoded": ("hainan-encoder-output",),
}
REMOVED_OPTIONS = ("device", "backend")  # of Fbank in older versions: stored with features, without effect here


@dataclass
class FbankConfig:
    """Options of Fbank, in the form in which lhotse stores them."""

    num_mel_bins: int = 80

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> FbankConfig:
        """Without the options of older versions."""
        return FbankConfig(**{name: value for name, value in data.items() if name not in REMOVED_OPTIONS})


@dataclass
class LogMelConfig:
    """LogMel has no choices; lhotse stores this with its name."""

    num_mel_bins: int = NUM_BINS

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> LogMelConfig:
        return LogMelConfig(**data)


class _Extractor(FeatureExtractor):
    """An extractor of feature frames of 10 ms, each computed by `features`."""

    config: Any

    @property
    def frame_shift(self) -> float:
        return FEATURE_FRAME_SHIFT

    def feature_dim(self, sampling_rate: int) -> int:
        dim: int = self.config.num_mel_bins
        return dim

    @abstractmethod
    def features(self, waveform: Tensor) -> Tensor:
        """(N,) -> (T, F), not normalised."""

    def extract(self, samples: Samples, sampling_rate: int) -> Samples:
        """(N,) or (1, N) -> (T, F) float32; an array for an array, a tensor for a tensor.

        Raises ValueError for a sampling rate other than 16 kHz, more than one channel, or less than 25 ms.
        """
        features = self.features(to_waveform(samples, sampling_rate))
        return features if isinstance(samples, Tensor) else features.numpy()


@register_extractor
class Fbank(_Extractor):
    """lhotse extractor of `hainan_k2.frontend.fbank.fbank`: samples (N,) at 16 kHz to (T, num_mel_bins).

    >>> Fbank().extract(np.zeros(16000, dtype=np.float32), 16000).shape
    (100, 80)
    """

    name = "hainan-fbank"
    config_type = FbankConfig

    def __init__(self, config: Optional[FbankConfig] = None):
        super().__init__(config)
        check_mel_bins(self.config.num_mel_bins)

    def features(self, waveform: Tensor) -> Tensor:
        return fbank(waveform, self.config.num_mel_bins)

    @staticmethod
    def mix(features_a: np.ndarray, features_b: np.ndarray, energy_scaling_factor_b: float) -> np.ndarray:
        """Features (T, F) of the sum of two signals, for lhotse's mixing of stored features: energies add up."""
        mixed: np.ndarray = np.log(
            np.maximum(EPSILON, np.exp(features_a) + energy_scaling_factor_b * np.exp(features_b))
        )
        return mixed

    @staticmethod
    def compute_energy(features: np.ndarray) -> float:
        """The sum of all energies of (T, F)."""
        return float(np.sum(np.exp(features)))


@register_extractor
class LogMel(_Extractor):
    """lhotse extractor of `hainan_k2.frontend.log_mel.log_mel`: samples (N,) at 16 kHz to (T, 80)."""

    name = "hainan-log-mel"
    config_type = LogMelConfig

    def features(self, waveform: Tensor) -> Tensor:
        return log_mel(waveform)


def extractor_of(spec: FeatureSpec) -> _Extractor:
    """The lhotse extractor of a FeatureSpec; ValueError for outputs of an encoder, which are not computed here."""
    spec.check_computable()
    return LogMel() if spec.kind == "log-mel" else Fbank(FbankConfig(spec.num_bins))


class UtteranceNorm:
    """`normalise` as an input transform of lhotse's datasets: every supervision separately, 0 elsewhere."""

    def __call__(self, features: Tensor, supervision_segments: Optional[Tensor] = None) -> Tensor:
        """(B, T, F) and rows (sequence index, start frame, number of frames) -> (B, T, F)."""
        if supervision_segments is None:
            return normalise_batch(features, [features.shape[1]] * len(features))
        normalised = torch.zeros_like(features)
        for index, start, length in supervision_segments.tolist():
            normalised[index, start : start + length] = normalise(features[index, start : start + length])
        return normalised


def transforms_of(spec: FeatureSpec) -> list[UtteranceNorm]:
    """The lhotse input transforms of a batch of these features."""
    return [UtteranceNorm()] if spec.normalised else []
