"""Which features an encoder hears, and what makes them."""

from __future__ import annotations

from dataclasses import dataclass

from lhotse.features.base import FeatureExtractor

from hainan_k2.frontend.features import Fbank, FbankConfig, UtteranceNorm
from hainan_k2.frontend.log_mel import NUM_BINS, LogMel


@dataclass(frozen=True)
class FeatureSpec:
    """`kind` of features, `num_bins` numbers in a frame.

    fbank: Kaldi's filter banks, normalised per utterance when batches are made. log-mel: Whisper's features, as they
    are. states: what a frozen pretrained encoder made of them; they are stored, never computed here.
    """

    kind: str = "fbank"
    num_bins: int = 80

    def __post_init__(self):
        if self.kind not in ("fbank", "log-mel", "states"):
            raise ValueError(f"no features of kind {self.kind!r}; there are fbank, log-mel and states")
        if self.kind == "log-mel" and self.num_bins != NUM_BINS:
            raise ValueError(f"num_mel_bins is {self.num_bins}: log-mel features have {NUM_BINS}")

    def extractor(self) -> FeatureExtractor:
        """A lhotse feature extractor; ValueError for states."""
        if self.kind == "states":
            raise ValueError("encoder states are stored beside the cuts by compute_states.py, not made from audio here")
        return LogMel() if self.kind == "log-mel" else Fbank(FbankConfig(self.num_bins))

    def transforms(self) -> list:
        """lhotse input transforms that a batch goes through."""
        return [UtteranceNorm()] if self.kind == "fbank" else []


FBANK = FeatureSpec()
