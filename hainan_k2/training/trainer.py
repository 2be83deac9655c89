"""The training loop. Its checkpoints hold all that the next update depends on, so that training resumes exactly."""

from __future__ import annotations

import logging
import math
import pathlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Optional

import torch
from torch import Tensor

from hainan_k2.config import ModelConfig, as_dict, option
from hainan_k2.data.batch import Batch
from hainan_k2.data.batches import TooManyUnreadable, TrainingData
from hainan_k2.formats.average import RunningAverage
from hainan_k2.formats.checkpoint import LAST, epoch_name, save_checkpoint
from hainan_k2.model.hainan import Hainan
from hainan_k2.stopwatch import Stopwatch
from hainan_k2.training.interrupts import uninterrupted
from hainan_k2.training.objective import LossConfig, hainan_losses
from hainan_k2.training.optim import OptimConfig, learning_rate, make_optimizer, set_learning_rate
from hainan_k2.training.progress import TrainingProgress
from hainan_k2.training.trainlog import TrainLog
from hainan_k2.training.validation import Evaluator

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoopConfig:
    """Options of the training loop."""

    help_title = "training loop options"

    num_epochs: int = option(30, "epochs to train", at_least=1)
    save_every: int = option(500, "updates between checkpoints within an epoch", at_least=1)
    log_every: int = option(50, "updates between log lines where stderr is no terminal", at_least=1)
    keep_epochs: int = option(10, "newest epoch checkpoints to keep", at_least=1)
    precision: str = option(
        "float32",
        "bfloat16: encoder and joint network compute in bfloat16 where the device supports it",
        ("float32", "bfloat16"),
    )
    average_every: int = option(
        100, "updates between samples of the weights' running average, kept in checkpoints; 0: no average", at_least=0
    )
    profile: bool = option(False, "print the time of each part of training at the end")


class Trainer:
    """Model, optimizer and progress of a training.

    `run` trains to the end. It writes a checkpoint at the end of every epoch, every `save_every` updates, and when it
    is interrupted; `load` continues from one.
    """

    def __init__(
        self,
        model: Hainan,
        device: torch.device,
        exp_dir: pathlib.Path,
        loop: LoopConfig,
        loss: LossConfig,
        optim: OptimConfig,
        seed: int,
        provenance: dict[str, Any],
    ):
        self.model, self.device, self.exp_dir = model.to(device), device, exp_dir
        self.loop, self.loss, self.optim, self.seed, self.provenance = loop, loss, optim, seed, provenance
        self.optimizer = make_optimizer(model, optim, model.pretrained)
        self.progress = TrainingProgress()
        self.average = RunningAverage(loop.average_every)
        self.watch = Stopwatch(synchronise=loop.profile)

    def state(self) -> dict[str, Any]:
        """The contents of a checkpoint."""
        return {
            "model": self.model.state_dict(),
            "model_config": as_dict(self.model.config),
            "optimizer": self.optimizer.state_dict(),
            "progress": vars(self.progress).copy(),
            "average": self.average.state(),
            "provenance": self.provenance,
        }

    def load(self, state: dict[str, Any], path: pathlib.Path) -> None:
        """Continue from `state`, that of the checkpoint `path`. Raises ValueError where it is incomplete, or of a model
        with other options."""
        own = as_dict(self.model.config)
        defaults = {**as_dict(ModelConfig()), "predictor_masking": own["predictor_masking"]}
        saved = {**defaults, **(state.get("model_config") or {})}  # older versions had fewer options
        changed = [name for name, value in own.items() if saved.pop(name) != value]
        if changed or saved:
            raise ValueError(
                f"{path} was trained with another {', '.join([*changed, *saved])}: use the same options or another "
                "--exp-dir"
            )
        try:
            self.model.load_state_dict(state["model"])
            peaks = [group["peak"] for group in self.optimizer.param_groups]  # of the options, not of the checkpoint
            self.optimizer.load_state_dict(state["optimizer"])
            for group, peak in zip(self.optimizer.param_groups, peaks):
                group["peak"] = peak
            self.progress = TrainingProgress.from_dict(state["progress"])
            self.average.load(state.get("average"))
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{path} is not a checkpoint of this training: {' '.join(str(error).split())}") from None

    def save(self, name: str = LAST) -> None:
        """Write a checkpoint into the experiment folder."""
        with uninterrupted(), self.watch.section("checkpoints"):
            save_checkpoint(self.exp_dir / name, self.state())

    def run(self, training: TrainingData, evaluator: Evaluator) -> None:
        """Train from `progress` to the end, with validation after every epoch.

        Raises:
          KeyboardInterrupt, TooManyUnreadable: after a checkpoint is written.
        """
        p = self.progress
        log = TrainLog(self.exp_dir, p.updates, p.epoch, self.loop.log_every)
        log.begin(p.audio_seconds)
        try:
            while p.epoch <= self.loop.num_epochs:
                for batch in self._timed(training.batches(p.epoch, p.batch)):
                    with uninterrupted():
                        self._step(batch, training.seconds * self.loop.num_epochs, log)
                    if p.updates % self.loop.save_every == 0:
                        self.save()
                with self.watch.section("validation"):
                    figures = evaluator.validate(self.model, self.loss)
                figures["unreadable"] = len(training.unreadable.reasons)
                with uninterrupted():
                    self._finish_epoch(figures, log)
        except (KeyboardInterrupt, TooManyUnreadable):
            self.save()
            logger.warning(
                "interrupted at epoch %d, update %d; the same command continues from %s",
                p.epoch,
                p.updates,
                self.exp_dir / LAST,
            )
            raise
        finally:
            log.close()

    def _timed(self, batches: Iterable[Batch]) -> Iterable[Batch]:
        iterator = iter(batches)
        while True:
            with self.watch.section("data"):
                batch = next(iterator, None)
            if batch is None:
                return
            yield batch

    def _step(self, batch: Batch, planned: float, log: TrainLog) -> None:
        p = self.progress
        if not batch.ids:  # no cut of it could be read
            p.batch += 1
            return
        fraction = learning_rate(self.optim, p.updates, p.audio_seconds / planned)
        set_learning_rate(self.optimizer, fraction)
        values = self._update(batch)
        p.batch += 1
        seconds = sum(batch.seconds)
        p.audio_seconds += seconds
        if values is not None:
            p.updates += 1
            with self.watch.section("optimizer"):
                self.average.update(self.model, p.updates)
            values = {"update": p.updates, "epoch": p.epoch, "lr": self.optim.lr * fraction, **values}
            with self.watch.section("log"):
                log.update(values, p.audio_seconds / planned, seconds)

    def _update(self, batch: Batch) -> Optional[dict[str, float]]:
        """Make an update and return its losses per label.

        Where the loss, its gradient or the statistics of a batch norm are not finite, it logs the cuts, leaves the
        model as it was, statistics included, and returns None.
        """
        self.model.train()
        statistics = [buffer.clone() for buffer in self.model.buffers()]
        # Seeded by the number of the update, so that a resumed run draws the same masks and dropout.
        torch.manual_seed(self.seed * 1_000_003 + self.progress.updates + self.progress.skipped)
        batch = batch.to(self.device)
        assert batch.targets is not None and batch.target_lens is not None  # TrainingData has both
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.loop.precision == "bfloat16"):
            losses = hainan_losses(
                self.model,
                batch.features,
                batch.lens,
                batch.targets,
                batch.target_lens,
                self.loss,
                self.progress.updates,
                self.watch,
                batch.encoded,
            )
        self.progress.unalignable += len(losses.unalignable)
        if losses.unalignable:
            logger.warning(
                "too few frames for the labels of %s: left out of a loss",
                " ".join(batch.ids[b] for b in losses.unalignable),
            )
        if not losses.finite:
            self._skip("loss", batch, statistics)
            return None
        with self.watch.section("backward"):
            self.optimizer.zero_grad(set_to_none=True)
            losses.total.backward()
        with self.watch.section("optimizer"):
            norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.optim.clip_norm))
            if not math.isfinite(norm):
                self._skip("gradient", batch, statistics)
                return None
            if not all_finite(self.model.buffers()):
                self._skip("a batch norm", batch, statistics)
                return None
            self.optimizer.step()
        return {"loss": float(losses.total.detach()), "grad_norm": norm, **losses.per_label()}

    def _skip(self, what: str, batch: Batch, statistics: list[Tensor]) -> None:
        for buffer, before in zip(self.model.buffers(), statistics):
            buffer.copy_(before)
        self.progress.skipped += 1
        logger.warning(
            "update skipped (%d so far): %s is not finite; cuts %s", self.progress.skipped, what, " ".join(batch.ids)
        )

    def _finish_epoch(self, figures: dict[str, float], log: TrainLog) -> None:
        p = self.progress
        log.epoch(
            {"epoch": p.epoch, "update": p.updates, **figures, "skipped": p.skipped, "unalignable": p.unalignable}
        )
        p.epoch, p.batch = p.epoch + 1, 0
        self.save(epoch_name(p.epoch - 1))
        self.save()
        stale = self.exp_dir / epoch_name(p.epoch - 1 - self.loop.keep_epochs)
        if stale.exists():
            stale.unlink()


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether every number of the tensors is finite; one transfer from the device for all of them."""
    return bool(torch.stack([torch.isfinite(tensor).all() for tensor in tensors] or [torch.tensor(True)]).all())
