"""Which features an encoder hears, and what makes them."""

from __future__ import annotations

from dataclasses import dataclass

from lhotse.features.base import FeatureExtractor

from hainan_k2.config import ModelConfig
from hainan_k2.frontend.features import Fbank, FbankConfig, UtteranceNorm
from hainan_k2.frontend.log_mel import NUM_BINS, LogMel

# Types of stored features, as lhotse's manifests name them, that serve as features of a kind. lhotse's own filter banks
# of its default settings differ from ours by 2.5e-3 at most.
STORED_TYPES = {
    "fbank": ("hainan-fbank", "kaldi-fbank", "kaldifeat-fbank", "fbank"),
    "log-mel": ("hainan-log-mel",),
    "states": ("hainan-whisper-states",),
}


@dataclass(frozen=True)
class FeatureSpec:
    """`kind` of features, `num_bins` numbers in a frame.

    fbank: Kaldi's filter banks, normalised per utterance when batches are made. log-mel: Whisper's features, as they
    are. states: what a frozen pretrained encoder made of them; they are stored, never computed here.
    """

    kind: str = "fbank"
    num_bins: int = 80

    def __post_init__(self):
        if self.kind not in STORED_TYPES:
            raise ValueError(f"no features of kind {self.kind!r}; there are {', '.join(STORED_TYPES)}")
        if self.kind == "log-mel" and self.num_bins != NUM_BINS:
            raise ValueError(f"num_mel_bins is {self.num_bins}: log-mel features have {NUM_BINS}")

    @classmethod
    def of_model(cls, model: ModelConfig) -> FeatureSpec:
        """The features that the encoder of `model` expects, computed from audio."""
        return cls("fbank" if model.encoder == "fastconformer" else "log-mel", model.num_mel_bins)

    def extractor(self) -> FeatureExtractor:
        """A lhotse feature extractor; ValueError for states."""
        if self.kind == "states":
            raise ValueError("encoder states are stored beside the cuts by compute_states.py, not made from audio here")
        return LogMel() if self.kind == "log-mel" else Fbank(FbankConfig(self.num_bins))

    @property
    def stored_types(self) -> tuple[str, ...]:
        """Types of stored features, by lhotse's names, that can be used; the first is the one that we store."""
        return STORED_TYPES[self.kind]

    def transforms(self) -> list:
        """lhotse input transforms that a batch goes through."""
        return [UtteranceNorm()] if self.kind == "fbank" else []


FBANK = FeatureSpec()
