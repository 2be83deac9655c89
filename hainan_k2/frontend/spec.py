"""FeatureSpec: the features that an encoder expects."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hainan_k2.config import ModelConfig
from hainan_k2.frontend.fbank import fbank
from hainan_k2.frontend.log_mel import NUM_BINS, log_mel
from hainan_k2.frontend.normalise import normalise
from hainan_k2.frontend.samples import Samples, to_waveform

KINDS = ("fbank", "log-mel", "states", "encoded")


@dataclass(frozen=True)
class FeatureSpec:
    """The kind of features that an encoder expects, with `num_bins` values per frame.

    fbank: Kaldi's log mel filter banks, normalised per utterance. log-mel: Whisper's features, not normalised.
    states: the output of a frozen pretrained encoder, which is stored beside the cuts and never computed here.
    encoded: the output of a frozen encoder as a whole, 80 ms frames, stored likewise; the model's encoder is skipped.
    `encoder` is the SHA-256 of that encoder (hainan_k2.training.encoder_states).

    >>> import numpy
    >>> FeatureSpec("log-mel").compute(numpy.zeros(16000)).shape
    torch.Size([100, 80])
    """

    kind: str = "fbank"
    num_bins: int = 80
    encoder: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no features of kind {self.kind!r}; there are {', '.join(KINDS)}")
        if self.kind == "log-mel" and self.num_bins != NUM_BINS:
            raise ValueError(f"num_mel_bins is {self.num_bins}: log-mel features have {NUM_BINS}")

    @classmethod
    def of_model(cls, model: ModelConfig) -> FeatureSpec:
        """The features that the encoder of `model` expects, computed from audio."""
        return cls("fbank" if model.encoder == "fastconformer" else "log-mel", model.num_mel_bins)

    @property
    def normalised(self) -> bool:
        """Whether these features are normalised per utterance."""
        return self.kind == "fbank"

    def compute(self, samples: Samples) -> Tensor:
        """Features (T, F) float32, normalised where this kind is, of samples (N,) or (1, N) at 16 kHz.

        These are the features that a batch has of the same utterance. Raises ValueError for samples of less than 25 ms
        or several channels, and for stored kinds.
        """
        self.check_computable()
        waveform = to_waveform(samples)
        features = log_mel(waveform) if self.kind == "log-mel" else fbank(waveform, self.num_bins)
        return normalise(features) if self.normalised else features

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


FBANK = FeatureSpec()
