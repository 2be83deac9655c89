"""TrainingData and EvaluationData: the batches of a cut manifest, for a model."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Optional, Union

from lhotse import CutSet
from lhotse.cut import Cut
from torch.utils.data import DataLoader

from hainan_k2 import cli
from hainan_k2.config import ModelConfig
from hainan_k2.data.batch import Batch
from hainan_k2.data.config import WHOLE, DataConfig, Part
from hainan_k2.data.cuts import Cuts, check_cut, feature_type, has_features, open_cuts
from hainan_k2.data.datamodule import eval_loader, train_loader, train_sampler
from hainan_k2.data.dataset import UNREADABLE, SpeechDataset, read_long
from hainan_k2.data.extractors import STORED_TYPES
from hainan_k2.data.summary import summarise_cuts
from hainan_k2.frames import subsampled_length
from hainan_k2.frontend.spec import FeatureSpec
from hainan_k2.text.tokenizer import Tokenizer

logger = logging.getLogger(__name__)


class TooManyUnreadable(ValueError):
    """More cuts cannot be read than --max-unreadable allows."""


class Unreadable:
    """Cuts that cannot be read or have values that are not finite, with the reasons; at most `limit` of them.

    Each is named once in the log.
    """

    def __init__(self, limit: int = 0):
        self.limit = limit
        self.reasons: dict[str, str] = {}

    def add(self, left_out: Iterable[tuple[str, str]]) -> None:
        """Add the (id, reason) of cuts that a batch left out. Raises TooManyUnreadable with all of them."""
        for name, reason in left_out:
            if name not in self.reasons:
                self.reasons[name] = reason
                if self.limit:
                    logger.warning(
                        "cut %s left out (%d so far, --max-unreadable %d): %s",
                        name,
                        len(self.reasons),
                        self.limit,
                        reason,
                    )
        if len(self.reasons) > self.limit:
            listed = "; ".join(f"{name}: {reason}" for name, reason in self.reasons.items())
            raise TooManyUnreadable(f"{len(self.reasons)} cuts cannot be used, {self.limit} are allowed: {listed}")


def feature_spec(model: ModelConfig, cuts: Cuts, encoder: str = "") -> FeatureSpec:
    """The features that `model` is given for these cuts: those that its encoder expects or, where the cuts have them
    stored, the output of its encoder or of its pretrained part.

    Args:
      encoder: SHA-256 of the encoder of `model`, which is frozen; empty where it is not.
    Raises:
      ValueError: where the cuts have encoder output stored and `encoder` is empty.
    """
    first = next(iter(open_cuts(cuts, metadata=True)), None)
    stored = feature_type(first) if first is not None and first.has_features else ""
    if stored in STORED_TYPES["encoded"]:
        if not encoder:
            raise ValueError(
                f"{cuts}: the cuts have stored encoder output, which serves training with --freeze-encoder true and "
                "hainan-label only: give cuts without features"
            )
        return FeatureSpec("encoded", model.d_model, encoder=encoder)
    if model.encoder == "whisper" and stored in STORED_TYPES["states"]:
        return FeatureSpec("states", model.whisper_dim)
    return FeatureSpec.of_model(model)


class TrainingData:
    """The batches of every epoch. Cuts whose text is longer than `model` can align with their frames are left out and
    counted in the log.

    Args:
      cuts: the path of a cut manifest or of a Shar folder.
      unreadable: collects the cuts that cannot be read; by default none is allowed.
      pin_memory: as of `train_loader`.
      encoder: SHA-256 of the model's frozen encoder, whose stored output the cuts may have.
      part: as of `train_loader`.
    Raises:
      ValueError: where no cut is left, or a cut cannot be used.
    """

    def __init__(
        self,
        cuts: str,
        config: DataConfig,
        tokenizer: Tokenizer,
        model: ModelConfig,
        seed: int,
        unreadable: Optional[Unreadable] = None,
        pin_memory: bool = False,
        encoder: str = "",
        part: Part = WHOLE,
    ):
        def fits(num_frames: int, text: str) -> bool:
            frames, labels = subsampled_length(num_frames), len(tokenizer.encode(text))
            return frames > labels * model.durations[0]  # a last blank takes at least one frame

        self.cuts, self.config, self.tokenizer, self.seed = cuts, config, tokenizer, seed
        self.spec = feature_spec(model, cuts, encoder)
        self.unreadable, self.pin_memory, self.part = unreadable or Unreadable(), pin_memory, part
        summary = summarise_cuts(cuts, config, fits, spec=self.spec)
        logger.info("training data: %s", summary)
        if not summary.kept:
            raise ValueError(f"{cuts}: {summary}")
        self.seconds, self.exclude = summary.seconds, summary.dropped_ids

    def batches(self, epoch: int, skip: int) -> Iterator[Batch]:
        """The batches of epoch `epoch` (from 1) after its first `skip` ones.

        A batch of which no cut can be read has B = 0. Raises TooManyUnreadable.
        """
        loader = train_loader(
            self.cuts,
            self.config,
            seed=self.seed,
            epoch=epoch,
            skip_batches=skip,
            exclude=self.exclude,
            spec=self.spec,
            pin_memory=self.pin_memory,
            part=self.part,
        )
        for batch in loader:
            self.unreadable.add(batch["left_out"])
            yield self._of_supervisions(batch)

    def largest(self) -> Iterator[tuple[str, Batch]]:
        """The batches of the first epoch that need most memory, each once: by what makes it large ("max num cuts"),
        the batch. They are lhotse's pessimistic batches."""
        from lhotse.dataset import find_pessimistic_batches

        dataset = SpeechDataset(self.spec, stored=has_features(open_cuts(self.cuts, metadata=True)))
        found, _ = find_pessimistic_batches(train_sampler(self.cuts, self.config, self.exclude, self.seed, epoch=1))
        seen: list[list[str]] = []
        for why, chosen in found.items():
            ids = sorted(chosen.ids)
            if ids not in seen:
                seen.append(ids)
                yield why.replace("_", " "), self._of_supervisions(dataset[chosen])

    def _of_supervisions(self, batch: dict[str, Any]) -> Batch:
        return Batch.of_supervisions(batch, self.spec.kind == "encoded").with_targets(self.tokenizer)


def read_chunk(
    chunk: tuple[list[Cut], bool], stored: bool, spec: FeatureSpec
) -> tuple[Optional[Batch], list[tuple[str, str]]]:
    """Read a chunk of `EvaluationData.chunks`: its batch, None where no cut can be read, and the (id, reason) of cuts
    that cannot."""
    cuts, is_long = chunk
    if is_long:
        (cut,) = cuts
        try:
            long = read_long(cut, stored, spec)
        except UNREADABLE as error:
            return None, [(cut.id, cli.reason(error))]
        return Batch.of_long(long, cut.id, cut.supervisions[0].text, cut.duration), []
    read = SpeechDataset(spec, stored=stored)[CutSet.from_cuts(cuts)]
    batch = Batch.of_supervisions(read, spec.kind == "encoded")
    return batch if batch.ids else None, read["left_out"]


def _is_short(longest: float, cut: Cut) -> bool:
    return bool(cut.duration <= longest)


class EvaluationData:
    """Every utterance of a cut manifest, once, in a fixed order.

    Utterances of more than `longest` seconds come last, each as a batch with `Batch.long`, which the encoder reads in
    windows; with stored encoder output none is long. Of several processes each reads its `part` of the batches, which
    may be none. Other arguments as of TrainingData. Raises ValueError, naming the cut, for a long cut that does not
    suit.
    Iteration raises TooManyUnreadable where more cuts cannot be read than `unreadable` allows, and ValueError where
    none of all can be read.
    """

    def __init__(
        self,
        cuts: Cuts,
        config: DataConfig,
        model: ModelConfig,
        unreadable: Optional[Unreadable] = None,
        pin_memory: bool = False,
        longest: float = math.inf,
        encoder: str = "",
        part: Part = WHOLE,
    ):
        self.cuts, self.unreadable, self.part = cuts, unreadable or Unreadable(), part
        self.spec = feature_spec(model, cuts, encoder)
        if self.spec.kind == "encoded":
            longest = math.inf
        opened = open_cuts(cuts)
        listed = open_cuts(cuts, metadata=True)
        self.stored = has_features(listed)
        self.long: list[Cut] = []
        short: Cuts = cuts
        if longest < math.inf and any(cut.duration > longest for cut in listed):
            self.long = [cut for cut in opened if cut.duration > longest]
            short = opened.filter(partial(_is_short, longest))
        for cut in self.long:
            check_cut(cut, self.stored, self.spec)
        self.long = self.long[part.rank :: part.size]
        self.loader: Union[DataLoader, tuple[()]] = ()
        if any(cut.duration <= longest for cut in listed):
            self.loader = eval_loader(short, config, spec=self.spec, pin_memory=pin_memory, part=part)

    def __iter__(self) -> Iterator[Batch]:
        count = 0
        for batch in self.loader:
            self.unreadable.add(batch["left_out"])
            if batch["supervisions"]["cut_id"]:
                count += 1
                yield Batch.of_supervisions(batch, self.spec.kind == "encoded")
        for cut in self.long:
            long, left_out = read_chunk(([cut], True), self.stored, self.spec)
            self.unreadable.add(left_out)
            if long is not None:
                count += 1
                yield long
        self.check_count(count)

    def chunks(self) -> Iterator[tuple[list[Cut], bool]]:
        """The cuts of every batch, in order, for `read_chunk` in another process; True for a long cut."""
        if isinstance(self.loader, DataLoader):
            yield from ((list(cuts), False) for cuts in self.loader.sampler)
        yield from (([cut], True) for cut in self.long)

    def check_count(self, count: int) -> None:
        """Raises ValueError where `count`, of batches or utterances that could be read, is 0, of all parts."""
        if not count and self.part.size == 1:
            manifest = "the cuts" if isinstance(self.cuts, CutSet) else self.cuts
            raise ValueError(f"{manifest}: none can be read")
