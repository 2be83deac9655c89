"""The training loop. Its checkpoints hold all that the next update depends on, so that training resumes exactly."""

from __future__ import annotations

import logging
import pathlib
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Optional

from hainan_k2.config import ModelConfig, as_dict, option
from hainan_k2.data.batches import TooManyUnreadable, TrainingData
from hainan_k2.formats.average import RunningAverage
from hainan_k2.formats.checkpoint import LAST, epoch_name, save_checkpoint
from hainan_k2.model.hainan import Hainan
from hainan_k2.stopwatch import Stopwatch
from hainan_k2.training.groups import Group, read_groups
from hainan_k2.training.interrupts import held_interrupts, uninterrupted
from hainan_k2.training.objective import LossConfig
from hainan_k2.training.optim import OptimConfig, learning_rate, make_optimizer, set_learning_rate
from hainan_k2.training.progress import TrainingProgress
from hainan_k2.training.ranks import Ranks
from hainan_k2.training.scan import scan_batches
from hainan_k2.training.trainlog import TrainLog
from hainan_k2.training.updater import Updater
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
    accumulate: int = option(
        1,
        "batches of each process per update; batch norms take their statistics from each batch",
        at_least=1,
        at_most=10000,
    )
    precision: str = option(
        "float32",
        "in which encoder and joint network compute; float16, with loss scaling, needs a CUDA device or torch 2.3",
        ("float32", "bfloat16", "float16"),
    )
    scan_batches: Optional[bool] = option(
        None, "run the largest batches before training, to find lack of memory; none: on a CUDA device"
    )
    average_every: int = option(
        100, "updates between samples of the weights' running average, kept in checkpoints; 0: no average", at_least=0
    )
    profile: bool = option(False, "print the time of each part of training at the end")


class Trainer:
    """Model, optimizer and progress of a training, on the device of this rank.

    `run` trains to the end. It writes a checkpoint at the end of every epoch, every `save_every` updates, and when it
    is interrupted; `load` continues from one. Only rank 0 writes.
    """

    def __init__(
        self,
        model: Hainan,
        ranks: Ranks,
        exp_dir: pathlib.Path,
        loop: LoopConfig,
        loss: LossConfig,
        optim: OptimConfig,
        seed: int,
        provenance: dict[str, Any],
    ):
        self.model, self.ranks, self.exp_dir = model.to(ranks.device), ranks, exp_dir
        self.loop, self.loss, self.optim, self.provenance = loop, loss, optim, provenance
        self.optimizer = make_optimizer(model, optim, model.pretrained)
        self.progress = TrainingProgress(ranks=ranks.size)
        self.average = RunningAverage(loop.average_every if ranks.main else 0)
        self.watch = Stopwatch(synchronise=loop.profile)
        self.updater = Updater(model, self.optimizer, loss, optim.clip_norm, loop.precision, seed, ranks, self.watch)

    def state(self) -> dict[str, Any]:
        """The contents of a checkpoint."""
        return {
            "model": self.model.state_dict(),
            "model_config": as_dict(self.model.config),
            "optimizer": self.optimizer.state_dict(),
            "progress": vars(self.progress).copy(),
            "average": self.average.state(),
            "loss_scaler": self.updater.state(),
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
            self.updater.load(state.get("loss_scaler"))
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{path} is not a checkpoint of this training: {' '.join(str(error).split())}") from None
        if self.progress.ranks != self.ranks.size:
            logger.info("%s was written by %d processes, now there are %d", path, self.progress.ranks, self.ranks.size)
            self.progress.share_over(self.ranks.size)

    def save(self, name: str = LAST) -> None:
        """Write a checkpoint into the experiment folder, in rank 0."""
        if not self.ranks.main:
            return
        with uninterrupted(), self.watch.section("checkpoints"):
            save_checkpoint(self.exp_dir / name, self.state())

    def run(self, training: TrainingData, evaluator: Evaluator) -> None:
        """Train from `progress` to the end, with validation after every epoch.

        Raises:
          KeyboardInterrupt, TooManyUnreadable: after a checkpoint is written.
        """
        p = self.progress
        scan = self.ranks.device.type == "cuda" if self.loop.scan_batches is None else self.loop.scan_batches
        if scan and not p.updates:
            self.ranks.agreed(lambda: scan_batches(self.updater.plain, training))
        self.updater.share_gradients()
        log = TrainLog(self.exp_dir, p.updates, p.epoch, self.loop.log_every) if self.ranks.main else None
        if log is not None:
            log.begin(p.audio_seconds)
        # Ranks are interrupted at different times: they end together, at the end of an update.
        held: AbstractContextManager[list[int]] = held_interrupts() if self.ranks.size > 1 else nullcontext([])
        with held as interrupts:
            try:
                while p.epoch <= self.loop.num_epochs:
                    batches = training.batches(p.epoch, p.batch)
                    for group in read_groups(batches, self.loop.accumulate, self.ranks, self.watch, interrupts):
                        with uninterrupted():
                            self._step(group, training.seconds * self.loop.num_epochs, log)
                        if p.updates % self.loop.save_every == 0:
                            self.save()
                    with self.watch.section("validation"):
                        figures = evaluator.validate(self.model, self.loss, self.ranks)
                    figures["unreadable"] = sum(self.ranks.agreed(lambda: len(training.unreadable.reasons)))
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
                if log is not None:
                    log.close()

    def _step(self, group: Group, planned: float, log: Optional[TrainLog]) -> None:
        p = self.progress
        p.batch += group.read
        if not group.batches:  # no cut of them could be read
            return
        fraction = learning_rate(self.optim, p.updates, p.audio_seconds / planned)
        set_learning_rate(self.optimizer, fraction)
        values = self.updater.update(group.batches, group.labels, p)
        p.audio_seconds += group.seconds
        if values is None:
            return
        p.updates += 1
        with self.watch.section("optimizer"):
            self.average.update(self.model, p.updates)
        if log is not None:
            values = {"update": p.updates, "epoch": p.epoch, "lr": self.optim.lr * fraction, **values}
            with self.watch.section("log"):
                log.update(values, p.audio_seconds / planned, group.seconds)

    def _finish_epoch(self, figures: dict[str, float], log: Optional[TrainLog]) -> None:
        p = self.progress
        if log is not None:
            log.epoch(
                {"epoch": p.epoch, "update": p.updates, **figures, "skipped": p.skipped, "unalignable": p.unalignable}
            )
        p.epoch, p.batch = p.epoch + 1, 0
        self.save(epoch_name(p.epoch - 1))
        self.save()
        stale = self.exp_dir / epoch_name(p.epoch - 1 - self.loop.keep_epochs)
        if self.ranks.main and stale.exists():
            stale.unlink()
