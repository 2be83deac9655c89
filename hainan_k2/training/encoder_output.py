"""Output of a frozen encoder as lhotse features, kept on disk, so that only what reads it is trained.

The output is that of `model.encoder` in evaluation mode: frames of 80 ms, float32, whose manifest says which encoder
made them. It serves every model with the same encoder, whatever its predictor and joint network.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Optional

import numpy as np
import torch
from lhotse.features.base import FeatureExtractor, Features, register_extractor, store_feature_array
from lhotse.features.io import FeaturesWriter

from hainan_k2.config import as_dict
from hainan_k2.formats.model_dir import find_model, read_model
from hainan_k2.frames import ENCODER_FRAME_SHIFT
from hainan_k2.frontend.audio import SAMPLING_RATE
from hainan_k2.frontend.samples import Samples, to_waveform
from hainan_k2.frontend.spec import FeatureSpec
from hainan_k2.inference.window_sizes import DEFAULT_WINDOWS
from hainan_k2.inference.windows import encode_audio
from hainan_k2.model.hainan import Hainan

AT_ONCE = 30.0  # seconds; longer audio is encoded in windows, as in decoding
# Options of ModelConfig that change nothing in the output of a trained encoder. An option that is not listed counts.
_OTHERS = ("vocab_size", "durations", "dropout", "ctc", "objective")
_OTHER_PARTS = ("predictor", "joiner")


def encoder_sha256(model: Hainan) -> str:
    """SHA-256 of what the output of the encoder depends on: its options and its weights.

    The count of batches in a batch norm and the other parts of the model are left out.
    """
    options = {
        name: value
        for name, value in as_dict(model.config).items()
        if name not in _OTHERS and not name.startswith(_OTHER_PARTS)
    }
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for name, value in sorted(model.encoder.state_dict().items()):
        if not name.endswith("num_batches_tracked"):
            digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@dataclass
class EncoderOutputConfig:
    """The model directory, and the SHA-256 of its encoder."""

    model: str = ""
    sha256: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> EncoderOutputConfig:
        return EncoderOutputConfig(**data)


@lru_cache(maxsize=1)
def _read(folder: str, sha256: str) -> Hainan:
    """The model of a directory; ValueError where its encoder is another."""
    model, _, _ = read_model(find_model(folder))
    if encoder_sha256(model) != sha256:
        raise ValueError(f"{folder} has another encoder than when this began: begin again")
    return model


@register_extractor
class EncoderOutput(FeatureExtractor):
    """lhotse feature extractor: samples (N,) at 16 kHz -> encoder output (T', d_model), one frame per 80 ms.

    The last frame is completed: it ends up to a frame after the audio, where lhotse's count of frames is rounded.
    """

    name = "hainan-encoder-output"
    config_type = EncoderOutputConfig

    def __init__(self, config: EncoderOutputConfig):
        super().__init__(config)
        self._model: Optional[Hainan] = None

    @classmethod
    def of_model(cls, folder: str) -> EncoderOutput:
        """The extractor of a model directory. Raises ValueError as `read_model` does."""
        path = find_model(folder)
        model, _, _ = read_model(path)
        extractor = cls(EncoderOutputConfig(str(path), encoder_sha256(model)))
        extractor._model = model
        return extractor

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_model": None}  # every worker process reads its own, once

    @property
    def frame_shift(self) -> float:
        return ENCODER_FRAME_SHIFT

    def feature_dim(self, sampling_rate: int) -> int:
        return self.model.config.d_model

    @property
    def model(self) -> Hainan:
        """The model, read when it is first used. Raises ValueError where its encoder is not that of the config."""
        if self._model is None:
            self._model = _read(self.config.model, self.config.sha256)
        return self._model

    @torch.no_grad()
    def extract(self, samples: Samples, sampling_rate: int) -> Samples:
        """Samples (N,) or (1, N) -> (T', d_model), float32; a tensor for a tensor, an array for an array.

        Raises ValueError for a sampling rate other than 16 kHz, several channels, or less than 25 ms.
        """
        waveform = to_waveform(samples, sampling_rate)
        spec = FeatureSpec.of_model(self.model.config)
        if len(waveform) <= AT_ONCE * SAMPLING_RATE:
            features = spec.compute(waveform)
            encoded, _ = self.model.encoder(features[None], torch.tensor([len(features)]))
        else:
            encoded, _ = encode_audio(self.model, spec, [waveform.numpy()], DEFAULT_WINDOWS)
        return encoded[0] if isinstance(samples, torch.Tensor) else encoded[0].numpy()

    def extract_from_samples_and_store(
        self,
        samples: np.ndarray,
        storage: FeaturesWriter,
        sampling_rate: int,
        offset: float = 0,
        channel: Any = None,
        augment_fn: Any = None,
    ) -> Features:
        """lhotse's method of this name, for frames of which the last may end after the audio."""
        if augment_fn is not None:
            samples = augment_fn(samples, sampling_rate)
        frames = self.extract(samples, sampling_rate)
        return Features(
            type=self.name,
            num_frames=frames.shape[0],
            num_features=frames.shape[1],
            frame_shift=self.frame_shift,
            sampling_rate=sampling_rate,
            start=offset,
            duration=round(len(frames) * self.frame_shift, ndigits=8),
            storage_type=storage.name,
            storage_path=str(storage.storage_path),
            storage_key=store_feature_array(frames, storage=storage),
            channels=channel,
        )
