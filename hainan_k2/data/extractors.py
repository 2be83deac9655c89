"""lhotse feature extractors over hainan_k2.frontend, and which stored features serve as which kind of FeatureSpec.

lhotse stores the registered name of an extractor (hainan-fbank, hainan-log-mel, hainan-nemo, hainan-sherpa-onnx) with
the features that it computed.
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
from hainan_k2.frontend.nemo_mel import HOP, LOG_GUARD, PREEMPHASIS
from hainan_k2.frontend.samples import Samples, to_waveform
from hainan_k2.frontend.spec import FBANK, FeatureSpec

# Types of stored features that serve as a kind of FeatureSpec; the first is the type that we store. lhotse's own filter
# banks, with its default settings, differ from ours by at most 2.5e-3.
STORED_TYPES = {
    "fbank": ("hainan-fbank", "kaldi-fbank", "kaldifeat-fbank", "fbank"),
    "log-mel": ("hainan-log-mel",),
    "nemo": ("hainan-nemo",),
    "sherpa-onnx": ("hainan-sherpa-onnx",),
    "states": ("hainan-whisper-states",),
    "encoded": ("hainan-encoder-output",),
}
REMOVED_OPTIONS = ("device", "backend")  # of Fbank in older versions: stored with features, without effect here


def stored_types(spec: FeatureSpec) -> tuple[str, ...]:
    """Types of stored features that serve as `spec`, the type that we store first.

    None serves as NeMo's features with another window or pre-emphasis than we store: lhotse's name does not tell them
    apart.
    """
    usual = spec == FeatureSpec(spec.kind, spec.num_bins, per_feature=spec.per_feature, encoder=spec.encoder)
    return STORED_TYPES[spec.kind] if usual else ()


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


@dataclass
class NemoMelConfig:
    """Options of NemoMel, in the form in which lhotse stores them."""

    num_mel_bins: int = 80
    window: str = "hann"
    preemphasis: float = PREEMPHASIS

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> NemoMelConfig:
        return NemoMelConfig(**data)


class _GuardedLogMel(_Extractor):
    """An extractor of log(energy + LOG_GUARD)."""

    @staticmethod
    def mix(features_a: np.ndarray, features_b: np.ndarray, energy_scaling_factor_b: float) -> np.ndarray:
        """Features (T, F) of the sum of two signals, for lhotse's mixing of stored features: energies add up."""
        energies = _energies(features_a) + energy_scaling_factor_b * _energies(features_b)
        mixed: np.ndarray = np.log(energies + LOG_GUARD)
        return mixed

    @staticmethod
    def compute_energy(features: np.ndarray) -> float:
        """The sum of all energies of (T, F)."""
        return float(np.sum(_energies(features)))


def _energies(features: np.ndarray) -> np.ndarray:
    return np.maximum(0.0, np.exp(features) - LOG_GUARD)


@register_extractor
class NemoMel(_GuardedLogMel):
    """lhotse extractor of `hainan_k2.frontend.nemo_mel.nemo_mel`: samples (N,) at 16 kHz to (T, num_mel_bins).

    T = round(N / 160), as lhotse requires: NeMo's floor(N / 160) frames, and a copy of the last one where 80 samples or
    more are left. A batch has NeMo's frames alone (`hainan_k2.data.cuts.num_frames`).
    """

    name = "hainan-nemo"
    config_type = NemoMelConfig

    def __init__(self, config: Optional[NemoMelConfig] = None):
        super().__init__(config)
        self.spec = FeatureSpec("nemo", self.config.num_mel_bins, self.config.window, self.config.preemphasis)

    def features(self, waveform: Tensor) -> Tensor:
        frames = self.spec.extract(waveform)
        return torch.cat([frames, frames[-1:]]) if len(waveform) % HOP >= HOP // 2 else frames


@dataclass
class SherpaMelConfig:
    """Options of SherpaMel, in the form in which lhotse stores them."""

    num_mel_bins: int = 80

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> SherpaMelConfig:
        return SherpaMelConfig(**data)


@register_extractor
class SherpaMel(_GuardedLogMel):
    """lhotse extractor of `hainan_k2.frontend.sherpa_mel.sherpa_mel`: samples (N,) at 16 kHz to (T, num_mel_bins)."""

    name = "hainan-sherpa-onnx"
    config_type = SherpaMelConfig

    def __init__(self, config: Optional[SherpaMelConfig] = None):
        super().__init__(config)
        self.spec = FeatureSpec("sherpa-onnx", self.config.num_mel_bins)

    def features(self, waveform: Tensor) -> Tensor:
        return self.spec.extract(waveform)


def extractor_of(spec: FeatureSpec) -> _Extractor:
    """The lhotse extractor of a FeatureSpec; ValueError for outputs of an encoder, which are not computed here."""
    spec.check_computable()
    if spec.kind == "nemo":
        return NemoMel(NemoMelConfig(spec.num_bins, spec.window, spec.preemphasis))
    if spec.kind == "sherpa-onnx":
        return SherpaMel(SherpaMelConfig(spec.num_bins))
    return LogMel() if spec.kind == "log-mel" else Fbank(FbankConfig(spec.num_bins))


class UtteranceNorm:
    """The normalisation of `spec` as an input transform of lhotse's datasets: each supervision separately, 0 elsewhere.

    Utterances are normalised one by one, so a result does not depend, to the last bit, on the others of the batch.
    """

    def __init__(self, spec: FeatureSpec = FBANK):
        self.spec = spec

    def __call__(self, features: Tensor, supervision_segments: Optional[Tensor] = None) -> Tensor:
        """(B, T, F) and rows (sequence index, start frame, number of frames) -> (B, T, F)."""
        if supervision_segments is None:
            return torch.stack([self.spec.normalise(utterance) for utterance in features])
        normalised = torch.zeros_like(features)
        for index, start, length in supervision_segments.tolist():
            span = slice(start, start + length)
            normalised[index, span] = self.spec.normalise(features[index, span])
        return normalised


def transforms_of(spec: FeatureSpec) -> list[UtteranceNorm]:
    """The lhotse input transforms of a batch of these features."""
    return [UtteranceNorm(spec)] if spec.normalised else []
