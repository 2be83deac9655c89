"""Log mel filter banks as Kaldi defines them, and their normalisation per utterance.

Frames are 25 ms every 10 ms, centred so that N samples give round(N / 160) of them (`snip_edges` off, as
lhotse counts frames), without dither: the same samples always give the same features.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Union

import numpy as np
import torch
from lhotse.features.base import FeatureExtractor, register_extractor
from lhotse.utils import EPSILON

from hainan_k2.frontend.audio import SAMPLING_RATE

FRAME_SHIFT = 0.01  # seconds
FRAME_LENGTH = 0.025
MIN_SAMPLES = round(FRAME_LENGTH * SAMPLING_RATE)  # the edges are mirrored: there must be something there
# Kaldi's limits between 20 and 7600 Hz: with more bins than this, one falls between two frequencies of the
# 512-point transform and holds nothing (kaldifeat would end the whole process).
MIN_MEL_BINS, MAX_MEL_BINS = 3, 124
# A mel bin whose log energy hardly moves (a band that the recording lacks) holds rounding noise; without a
# floor under its deviation that noise would be blown up to the size of speech, whose deviation is 2 to 4.
MIN_DEVIATION = 0.1

Samples = Union[np.ndarray, torch.Tensor]


@dataclass
class FbankConfig:
    """What can be chosen of the filter banks, in the form in which lhotse stores it."""

    num_mel_bins: int = 80
    device: str = "cpu"
    backend: str = "auto"  # auto, kaldifeat or kaldi-native-fbank

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> FbankConfig:
        return FbankConfig(**data)


def one_channel(samples: Samples, sampling_rate: int) -> torch.Tensor:
    """Samples (N,) or (1, N) as a float32 tensor (N,).

    Raises ValueError for another sampling rate than 16 kHz, more than one channel or less than 25 ms.
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


@register_extractor
class Fbank(FeatureExtractor):
    """lhotse feature extractor: samples (N,) at 16 kHz to log mel energies (T, num_mel_bins), natural log.

    Computed by kaldifeat, on `device`, where it is installed, else by kaldi-native-fbank on the CPU; both
    give the same features to 5e-3.

    >>> Fbank().extract(np.zeros(16000, dtype=np.float32), 16000).shape
    (100, 80)
    """

    name = "hainan-fbank"
    config_type = FbankConfig

    def __init__(self, config: FbankConfig | None = None):
        super().__init__(config)
        bins = self.config.num_mel_bins
        if not MIN_MEL_BINS <= bins <= MAX_MEL_BINS:
            raise ValueError(
                f"num_mel_bins is {bins}: at 16 kHz Kaldi has filter banks of {MIN_MEL_BINS} to {MAX_MEL_BINS} bins"
            )
        self.backend = choose_backend(self.config.backend)
        if self.backend == "kaldi-native-fbank" and torch.device(self.config.device).type != "cpu":
            raise ValueError(
                f"kaldi-native-fbank computes on the CPU only, not on {self.config.device}: "
                "install kaldifeat or say device='cpu'"
            )
        self._kaldifeat = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kaldifeat": None}  # made anew in every worker process

    @property
    def frame_shift(self) -> float:
        return FRAME_SHIFT

    @property
    def device(self) -> str:
        return self.config.device

    def feature_dim(self, sampling_rate: int) -> int:
        return self.config.num_mel_bins

    def extract(self, samples: Samples, sampling_rate: int) -> Samples:
        """(N,) or (1, N) -> (T, num_mel_bins) float32; an array for an array, a tensor for a tensor.

        Raises ValueError for another sampling rate than 16 kHz, more than one channel or less than 25 ms.
        """
        waveform = one_channel(samples, sampling_rate)
        compute = self._from_kaldifeat if self.backend == "kaldifeat" else self._from_native
        features = compute(waveform)
        return features if isinstance(samples, torch.Tensor) else features.cpu().numpy()

    def extract_batch(
        self, samples: Samples | Sequence[Samples], sampling_rate: int, lengths: Sequence[int] | None = None
    ) -> list[Samples]:
        """Signals, or a padded batch (B, N) with `lengths` in samples, to a list of (T_b, num_mel_bins).

        One by one: on a CPU that is faster than kaldifeat's own batches, which copy every frame.
        """
        if lengths is not None:
            samples = [signal[:length] for signal, length in zip(samples, lengths)]
        return [self.extract(signal, sampling_rate) for signal in samples]

    def _from_kaldifeat(self, waveform: torch.Tensor) -> torch.Tensor:
        if self._kaldifeat is None:
            import kaldifeat

            options = _set_options(kaldifeat.FbankOptions(), self.config.num_mel_bins)
            options.device = self.config.device
            self._kaldifeat = kaldifeat.Fbank(options)
        return self._kaldifeat(waveform.to(self.config.device))

    def _from_native(self, waveform: torch.Tensor) -> torch.Tensor:
        import kaldi_native_fbank

        options = _set_options(kaldi_native_fbank.FbankOptions(), self.config.num_mel_bins)
        stream = kaldi_native_fbank.OnlineFbank(options)
        stream.accept_waveform(SAMPLING_RATE, waveform.tolist())
        stream.input_finished()
        return torch.from_numpy(np.stack([stream.get_frame(i) for i in range(stream.num_frames_ready)]))

    @staticmethod
    def mix(features_a: np.ndarray, features_b: np.ndarray, energy_scaling_factor_b: float) -> np.ndarray:
        """Features of two signals heard together, for lhotse's mixing of stored features: energies add up."""
        return np.log(np.maximum(EPSILON, np.exp(features_a) + energy_scaling_factor_b * np.exp(features_b)))

    @staticmethod
    def compute_energy(features: np.ndarray) -> float:
        return float(np.sum(np.exp(features)))


@cache
def choose_backend(name: str = "auto") -> str:
    """The fbank implementation that is there: kaldifeat, else kaldi-native-fbank, saying so once."""
    if name not in ("auto", "kaldifeat", "kaldi-native-fbank"):
        raise ValueError(f"fbank backend {name!r} is none of auto, kaldifeat, kaldi-native-fbank")
    if name != "kaldi-native-fbank":
        try:  # the class, not the package: a kaldifeat without its compiled part still imports
            from kaldifeat import Fbank as _  # noqa: F401

            return "kaldifeat"
        except ImportError as error:
            if name == "kaldifeat":
                raise ValueError(f"fbank backend kaldifeat is not installed ({error})") from None
            logging.info("kaldifeat is not installed: kaldi-native-fbank gives the same features on the CPU")
    return "kaldi-native-fbank"


def _set_options(options: Any, num_mel_bins: int) -> Any:
    """Both packages mirror Kaldi's option structure."""
    options.frame_opts.samp_freq = SAMPLING_RATE
    options.frame_opts.frame_shift_ms = 1000 * FRAME_SHIFT
    options.frame_opts.frame_length_ms = 1000 * FRAME_LENGTH
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = False
    options.mel_opts.num_bins = num_mel_bins
    options.mel_opts.low_freq = 20.0
    options.mel_opts.high_freq = -400.0  # that far below half the sampling rate
    return options


def normalise(features: torch.Tensor) -> torch.Tensor:
    """One utterance (T, F) to zero mean and unit variance in every mel bin."""
    centred = features - features.mean(dim=0)
    variance = centred.square().sum(dim=0) / max(len(features) - 1, 1)
    return centred / variance.sqrt().clamp(min=MIN_DEVIATION)


def normalise_batch(features: torch.Tensor, lens: torch.Tensor | Sequence[int]) -> torch.Tensor:
    """`normalise` for every utterance of a padded batch (B, T, F) with `lens` (B,) frames; padding becomes 0.

    Each utterance is reduced by itself, so its result does not depend, to the last bit, on its batch mates.
    """
    if len(lens) != len(features) or (len(lens) and int(max(lens)) > features.shape[1]):
        raise ValueError(f"lens {[int(n) for n in lens]} do not fit features {tuple(features.shape)}")
    normalised = torch.zeros_like(features)
    for index, length in enumerate(int(n) for n in lens):
        normalised[index, :length] = normalise(features[index, :length])
    return normalised


class UtteranceNorm:
    """`normalise` as an input transform of lhotse's datasets: each supervision by itself, 0 elsewhere."""

    def __call__(self, features: torch.Tensor, supervision_segments: torch.Tensor | None = None) -> torch.Tensor:
        """(B, T, F) and rows (sequence index, start frame, number of frames) -> (B, T, F)."""
        if supervision_segments is None:
            return normalise_batch(features, [features.shape[1]] * len(features))
        normalised = torch.zeros_like(features)
        for index, start, length in supervision_segments.tolist():
            normalised[index, start : start + length] = normalise(features[index, start : start + length])
        return normalised
