"""States of a frozen Whisper encoder as lhotse features, kept on disk, so that only the layers above it are trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

import torch
from lhotse.features.base import FeatureExtractor, register_extractor

from hainan_k2.data.extractors import LogMel
from hainan_k2.formats.whisper_weights import load_whisper, read_whisper, whisper_dimensions
from hainan_k2.frames import FEATURE_FRAME_SHIFT
from hainan_k2.frontend.samples import Samples
from hainan_k2.model.whisper import WhisperEncoder

STATE = 320  # samples per state, 20 ms


@dataclass
class WhisperStatesConfig:
    """The encoder's file of weights and its dimensions."""

    weights: str = ""
    width: int = 384
    num_layers: int = 4
    num_heads: int = 6

    @staticmethod
    def of_file(path: str) -> WhisperStatesConfig:
        """The dimensions of the encoder in a file. Raises ValueError as read_whisper does."""
        return WhisperStatesConfig(path, *whisper_dimensions(read_whisper(Path(path)), path))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> WhisperStatesConfig:
        return WhisperStatesConfig(**data)


@register_extractor
class WhisperStates(FeatureExtractor):
    """lhotse feature extractor: samples (N,) at 16 kHz -> states (round(N / 320), width), one per 20 ms.

    The encoder makes ceil(T / 2) states of T = round(N / 160) frames, one more than lhotse counts where the audio ends
    in the first half of a state; that state is not stored.
    """

    name = "hainan-whisper-states"
    config_type = WhisperStatesConfig

    def __init__(self, config: WhisperStatesConfig):
        super().__init__(config)
        self._encoder: Optional[WhisperEncoder] = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_encoder": None}  # every worker process loads its own

    @property
    def frame_shift(self) -> float:
        return 2 * FEATURE_FRAME_SHIFT

    def feature_dim(self, sampling_rate: int) -> int:
        return self.config.width

    @property
    def encoder(self) -> WhisperEncoder:
        """The encoder, loaded when it is first used."""
        if self._encoder is None:
            c = self.config
            encoder = WhisperEncoder(c.width, c.num_layers, c.num_heads).eval()
            load_whisper(encoder, Path(c.weights))
            self._encoder = encoder
        return self._encoder

    @torch.no_grad()
    def extract(self, samples: Samples, sampling_rate: int) -> Samples:
        """Samples (N,) or (1, N) -> states (T, width), float32; a tensor for a tensor, an array for an array. Raises as
        LogMel.extract does."""
        features = torch.as_tensor(LogMel().extract(samples, sampling_rate))
        states, _ = self.encoder(features[None], torch.tensor([len(features)]))
        states = states[:, : (samples.shape[-1] + STATE // 2) // STATE]
        return states[0] if isinstance(samples, torch.Tensor) else states[0].numpy()
