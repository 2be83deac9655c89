"""FeatureSpec: the features that an encoder expects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from hainan_k2.config import ModelConfig
from hainan_k2.frontend.audio import SAMPLING_RATE
from hainan_k2.frontend.fbank import fbank
from hainan_k2.frontend.log_mel import NUM_BINS, log_mel
from hainan_k2.frontend.nemo_mel import FFT, LOG_GUARD, MAX_BINS, PREEMPHASIS, nemo_mel, normalise_per_feature
from hainan_k2.frontend.nemo_mel import WINDOWS as NEMO_WINDOWS
from hainan_k2.frontend.normalise import normalise
from hainan_k2.frontend.samples import Samples, to_waveform
from hainan_k2.frontend.sherpa_mel import HIGHEST, normalise_by_sherpa, sherpa_mel
from hainan_k2.frontend.sherpa_mel import MAX_BINS as MAX_SHERPA_BINS
from hainan_k2.frontend.sherpa_mel import MIN_BINS as MIN_SHERPA_BINS

KINDS = ("fbank", "log-mel", "nemo", "sherpa-onnx", "states", "encoded")


@dataclass(frozen=True)
class FeatureSpec:
    """The kind of features that an encoder expects, with `num_bins` values per frame.

    fbank: Kaldi's log mel filter banks, normalised per utterance. log-mel: Whisper's features, not normalised.
    nemo: NeMo's log mel energies, with the next three options. sherpa-onnx: those that sherpa-onnx computes for NeMo's
    transducers, normalised per utterance. states: the output of a frozen pretrained encoder, which is stored beside the
    cuts and never computed here. encoded: the output of a frozen encoder as a whole, 80 ms frames, stored likewise; the
    model's encoder is skipped.

    Args:
      window: hann or hamming.
      preemphasis: share of the sample before that is subtracted from each sample.
      per_feature: normalise every bin of an utterance.
      encoder: SHA-256 of the encoder of encoded features (hainan_k2.training.encoder_output).

    >>> import numpy
    >>> FeatureSpec("log-mel").compute(numpy.zeros(16000)).shape
    torch.Size([100, 80])
    """

    kind: str = "fbank"
    num_bins: int = 80
    window: str = "hann"
    preemphasis: float = PREEMPHASIS
    per_feature: bool = True
    encoder: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no features of kind {self.kind!r}; there are {', '.join(KINDS)}")
        if self.kind == "log-mel" and self.num_bins != NUM_BINS:
            raise ValueError(f"num_mel_bins is {self.num_bins}: log-mel features have {NUM_BINS}")
        if self.kind == "nemo" and not 1 <= self.num_bins <= MAX_BINS:
            raise ValueError(f"num_mel_bins is {self.num_bins}: NeMo's features have 1 to {MAX_BINS}")
        if self.kind == "sherpa-onnx" and not MIN_SHERPA_BINS <= self.num_bins <= MAX_SHERPA_BINS:
            raise ValueError(
                f"num_mel_bins is {self.num_bins}: sherpa-onnx's features have {MIN_SHERPA_BINS} to {MAX_SHERPA_BINS}"
            )
        if self.window not in NEMO_WINDOWS:
            raise ValueError(f"window is {self.window!r}: NeMo's features have {' or '.join(NEMO_WINDOWS)}")

    @classmethod
    def of_model(cls, model: ModelConfig) -> FeatureSpec:
        """The features that the encoder of `model` expects, computed from audio."""
        if model.features == "nemo":
            return cls("nemo", model.num_mel_bins, model.nemo_window, model.nemo_preemphasis, model.nemo_normalise)
        if model.features == "sherpa-onnx":
            return cls("sherpa-onnx", model.num_mel_bins)
        return cls("fbank" if model.encoder == "fastconformer" else "log-mel", model.num_mel_bins)

    @property
    def normalised(self) -> bool:
        """Whether these features are normalised per utterance."""
        return self.kind in ("fbank", "sherpa-onnx") or self.kind == "nemo" and self.per_feature

    def as_dict(self) -> dict[str, Any]:
        """What defines these features, as the config.json of a model directory states it."""
        common = {"kind": self.kind, "num_mel_bins": self.num_bins, "sampling_rate": SAMPLING_RATE}
        if self.kind not in ("nemo", "sherpa-onnx"):
            return common
        stated = {
            **common,
            "window": self.window,
            "preemphasis": self.preemphasis,
            "n_fft": FFT,
            "log_guard": LOG_GUARD,
            "normalise": "per_feature" if self.per_feature else "none",
        }
        return stated if self.kind == "nemo" else {**stated, "window": "povey", "highest_frequency": HIGHEST}

    def compute(self, samples: Samples) -> Tensor:
        """Features (T, F) float32, normalised where this kind is, of samples (N,) or (1, N) at 16 kHz.

        These are the features that a batch has of the same utterance. Raises ValueError for samples of less than 25 ms
        or several channels, and for stored kinds.
        """
        return self.normalise(self.extract(to_waveform(samples)))

    def extract(self, waveform: Tensor) -> Tensor:
        """Features (T, F) of a waveform (N,), not normalised; ValueError for encoder states."""
        self.check_computable()
        if self.kind == "nemo":
            return nemo_mel(waveform, self.num_bins, self.window, self.preemphasis)
        if self.kind == "sherpa-onnx":
            return sherpa_mel(waveform, self.num_bins)
        return log_mel(waveform) if self.kind == "log-mel" else fbank(waveform, self.num_bins)

    def normalise(self, features: Tensor) -> Tensor:
        """The features (T, F) of one utterance normalised as this kind is; unchanged where it is not."""
        if not self.normalised:
            return features
        return NORMALISATIONS[self.kind](features)

    def check_computable(self) -> None:
        """Raises ValueError for outputs of an encoder, which are stored and not computed from audio."""
        if self.kind == "states":
            raise ValueError(
                "encoder states are not computed from audio here: hainan-compute-features --encoder-weights stores "
                "them beside the cuts"
            )
        if self.kind == "encoded":
            raise ValueError(
                "encoder output is not computed from audio here: hainan-compute-features --encoder stores it beside "
                "the cuts"
            )


NORMALISATIONS = {"fbank": normalise, "nemo": normalise_per_feature, "sherpa-onnx": normalise_by_sherpa}
FBANK = FeatureSpec()
