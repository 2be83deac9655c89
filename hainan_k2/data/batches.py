"""What a model sees: lhotse batches with their texts as token ids."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Optional

import torch
from lhotse.cut import Cut
from torch import Tensor

from hainan_k2 import cli
from hainan_k2.config import ModelConfig
from hainan_k2.data.datamodule import (
    Cuts,
    DataConfig,
    eval_loader,
    has_features,
    open_cuts,
    summarise_cuts,
    train_loader,
)
from hainan_k2.data.dataset import UNREADABLE, check_cut, feature_type
from hainan_k2.data.long_utterance import LongUtterance
from hainan_k2.frontend.spec import FeatureSpec
from hainan_k2.model.subsampling import subsampled_length
from hainan_k2.text.tokenizer import Tokenizer

UNK = 1  # pads targets: any token but blank will do, lengths tell what counts


class TooManyUnreadable(ValueError):
    """More cuts than the user allows cannot be read."""


class Unreadable:
    """Cuts that cannot be read, or are not finite, and why: each is named once in the log. Up to `limit` of them."""

    def __init__(self, limit: int = 0):
        self.limit = limit
        self.reasons: dict[str, str] = {}

    def add(self, found: Iterable[tuple[str, str]]) -> None:
        """(id, reason) of cuts that a batch left out. Raises TooManyUnreadable with all that are known."""
        for name, reason in found:
            if name not in self.reasons:
                self.reasons[name] = reason
                if self.limit:
                    logging.warning(
                        "cut %s left out (%d so far, --max-unreadable %d): %s",
                        name,
                        len(self.reasons),
                        self.limit,
                        reason,
                    )
        if len(self.reasons) > self.limit:
            listed = "; ".join(f"{name}: {reason}" for name, reason in self.reasons.items())
            raise TooManyUnreadable(f"{len(self.reasons)} cuts cannot be used, {self.limit} are allowed: {listed}")


@dataclass(frozen=True)
class Batch:
    """features (B, T, F) and lens (B,) in frames; cut ids, reference texts and lengths in seconds of the B utterances.
    For training also targets (B, U), padded with anything but blank, and target_lens (B,).

    `long` is set where the batch is one utterance that is too long to be encoded at once; it has no features then."""

    features: Tensor
    lens: Tensor
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    seconds: tuple[float, ...]
    targets: Optional[Tensor] = None
    target_lens: Optional[Tensor] = None
    long: Optional[LongUtterance] = None

    def to(self, device: torch.device) -> Batch:
        tensors = {k: v.to(device, non_blocking=True) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **tensors)

    def with_targets(self, tokenizer: Tokenizer) -> Batch:
        """The same batch with its texts as token ids."""
        targets = [tokenizer.encode(text) for text in self.texts]
        width = max(map(len, targets), default=0)
        padded = torch.tensor([ids + [UNK] * (width - len(ids)) for ids in targets], dtype=torch.int64)
        return replace(self, targets=padded.view(len(targets), width), target_lens=torch.tensor([*map(len, targets)]))


def make_batch(batch: dict[str, Any]) -> Batch:
    """From a batch of `hainan_k2.data.datamodule`, whose row b is supervision b."""
    supervisions = batch["supervisions"]
    return Batch(
        batch["inputs"],
        supervisions["num_frames"].long(),
        tuple(supervisions["cut_id"]),
        tuple(supervisions["text"]),
        tuple(supervisions["seconds"]),
    )


def feature_spec(model: ModelConfig, cuts: Cuts) -> FeatureSpec:
    """What `model` hears of these cuts: the features of its encoder, or the states of a pretrained one where the cuts
    have them stored."""
    if model.encoder == "fastconformer":
        return FeatureSpec.of_model(model)
    first = next(iter(open_cuts(cuts)), None)
    states = FeatureSpec("states", model.whisper_dim)
    if first is not None and first.has_features and feature_type(first) in states.stored_types:
        return states
    return FeatureSpec.of_model(model)


class TrainingData:
    """Batches of every epoch, of the cuts that `model` can spell; what is left out is counted in the log."""

    def __init__(
        self,
        cuts: str,
        config: DataConfig,
        tokenizer: Tokenizer,
        model: ModelConfig,
        seed: int,
        unreadable: Optional[Unreadable] = None,
    ):
        def fits(num_frames: int, text: str) -> bool:
            frames, labels = subsampled_length(num_frames), len(tokenizer.encode(text))
            return frames > labels * model.durations[0]  # a last blank takes at least one frame

        self.cuts, self.config, self.tokenizer, self.seed = cuts, config, tokenizer, seed
        self.spec, self.unreadable = feature_spec(model, cuts), unreadable or Unreadable()
        summary = summarise_cuts(cuts, config, fits, spec=self.spec)
        logging.info("training data: %s", summary)
        if not summary.kept:
            raise ValueError(f"{cuts}: {summary}")
        self.seconds, self.exclude = summary.seconds, summary.dropped_ids

    def batches(self, epoch: int, skip: int) -> Iterator[Batch]:
        """Those of epoch `epoch` (from 1) after its first `skip` ones; of a batch whose cuts cannot be read nothing is
        left but its place. Raises TooManyUnreadable."""
        loader = train_loader(
            self.cuts, self.config, seed=self.seed, epoch=epoch, skip_batches=skip, exclude=self.exclude, spec=self.spec
        )
        for batch in loader:
            self.unreadable.add(batch["left_out"])
            yield make_batch(batch).with_targets(self.tokenizer)


def _is_short(longest: float, cut: Cut) -> bool:
    return cut.duration <= longest


class EvaluationData:
    """Every utterance of a set, once, in a fixed order. One that cannot be read is an error, TooManyUnreadable, unless
    `unreadable` allows for it; ValueError where none can be read.

    Utterances of more than `longest` seconds come last, each as a batch with `Batch.long`.
    """

    def __init__(
        self,
        cuts: Cuts,
        config: DataConfig,
        model: ModelConfig,
        unreadable: Optional[Unreadable] = None,
        longest: float = math.inf,
    ):
        self.cuts, self.unreadable = cuts, unreadable or Unreadable()
        self.spec = feature_spec(model, cuts)
        opened = open_cuts(cuts)
        self.stored = has_features(opened)
        self.long = [cut for cut in opened if cut.duration > longest] if longest < math.inf else []
        for cut in self.long:
            check_cut(cut, self.stored, self.spec)
        short = opened.filter(partial(_is_short, longest)) if self.long else cuts
        self.loader: Iterable[Any] = ()
        if not self.long or next(iter(short), None) is not None:
            self.loader = eval_loader(short, config, spec=self.spec)

    def __iter__(self) -> Iterator[Batch]:
        count = 0
        for batch in self.loader:
            self.unreadable.add(batch["left_out"])
            if batch["supervisions"]["cut_id"]:
                count += 1
                yield make_batch(batch)
        for cut in self.long:
            try:
                long = LongUtterance.read(cut, self.stored, self.spec)
            except UNREADABLE as error:
                self.unreadable.add([(cut.id, cli.reason(error))])
                continue
            count += 1
            nothing = torch.zeros(1, 0, self.spec.num_bins), torch.zeros(1, dtype=torch.int64)
            yield Batch(*nothing, (cut.id,), (cut.supervisions[0].text,), (cut.duration,), long=long)
        if not count:
            raise ValueError(f"{self.cuts}: no cut of it can be read")
