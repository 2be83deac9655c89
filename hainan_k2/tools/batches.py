"""What a model sees: lhotse batches with their texts as token ids."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Optional

import torch
from torch import Tensor

from hainan_k2.config import ModelConfig
from hainan_k2.frontend.datamodule import DataConfig, eval_loader, open_cuts, summarise_cuts, train_loader
from hainan_k2.frontend.spec import FeatureSpec
from hainan_k2.model.subsampling import subsampled_length
from hainan_k2.text import Tokenizer

UNK = 1  # pads targets: any token but blank will do, lengths tell what counts


@dataclass(frozen=True)
class Batch:
    """features (B, T, F) and lens (B,) in frames; cut ids, reference texts and lengths in seconds of the B utterances.
    For training also targets (B, U), padded with anything but blank, and target_lens (B,)."""

    features: Tensor
    lens: Tensor
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    seconds: tuple[float, ...]
    targets: Optional[Tensor] = None
    target_lens: Optional[Tensor] = None

    def to(self, device: torch.device) -> Batch:
        tensors = {k: v.to(device, non_blocking=True) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **tensors)

    def with_targets(self, tokenizer: Tokenizer) -> Batch:
        """The same batch with its texts as token ids."""
        targets = [tokenizer.encode(text) for text in self.texts]
        width = max(map(len, targets))
        padded = torch.tensor([ids + [UNK] * (width - len(ids)) for ids in targets], dtype=torch.int64)
        return replace(self, targets=padded.view(len(targets), width), target_lens=torch.tensor([*map(len, targets)]))


def make_batch(batch: dict[str, Any]) -> Batch:
    """From a batch of `hainan_k2.frontend.datamodule`, whose row b is supervision b."""
    supervisions = batch["supervisions"]
    return Batch(batch["inputs"], supervisions["num_frames"].long(), tuple(supervisions["cut_id"]),
                 tuple(supervisions["text"]), tuple(supervisions["seconds"]))


def audio_features(model: ModelConfig) -> FeatureSpec:
    """What the encoder of `model` hears of audio."""
    return FeatureSpec("fbank" if model.encoder == "fastconformer" else "log-mel", model.num_mel_bins)


def feature_spec(model: ModelConfig, cuts: str) -> FeatureSpec:
    """What `model` hears of these cuts: the features of its encoder, or the states of a pretrained one where the cuts
    have them stored."""
    if model.encoder == "fastconformer":
        return audio_features(model)
    first = next(iter(open_cuts(cuts)), None)
    if first is not None and first.has_features and first.num_features == model.whisper_dim:
        return FeatureSpec("states", model.whisper_dim)
    return audio_features(model)


class TrainingData:
    """Batches of every epoch, of the cuts that `model` can spell; what is left out is counted in the log."""

    def __init__(self, cuts: str, config: DataConfig, tokenizer: Tokenizer, model: ModelConfig, seed: int):
        def fits(num_frames: int, text: str) -> bool:
            frames, labels = subsampled_length(num_frames), len(tokenizer.encode(text))
            return frames > labels * model.durations[0]  # a last blank takes at least one frame

        self.cuts, self.config, self.tokenizer, self.seed = cuts, config, tokenizer, seed
        self.spec = feature_spec(model, cuts)
        summary = summarise_cuts(cuts, config, fits, spec=self.spec)
        logging.info("training data: %s", summary)
        if not summary.kept:
            raise ValueError(f"{cuts}: {summary}")
        self.seconds, self.exclude = summary.seconds, summary.dropped_ids

    def batches(self, epoch: int, skip: int) -> Iterator[Batch]:
        """Those of epoch `epoch` (from 1) after its first `skip` ones."""
        loader = train_loader(self.cuts, self.config, seed=self.seed, epoch=epoch, skip_batches=skip,
                              exclude=self.exclude, spec=self.spec)
        return (make_batch(batch).with_targets(self.tokenizer) for batch in loader)


class EvaluationData:
    """Every utterance of a set, once, in a fixed order."""

    def __init__(self, cuts: str, config: DataConfig, model: ModelConfig):
        self.loader = eval_loader(cuts, config, spec=feature_spec(model, cuts))

    def __iter__(self) -> Iterator[Batch]:
        return (make_batch(batch) for batch in self.loader)
