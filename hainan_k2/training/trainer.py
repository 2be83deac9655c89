"""The training loop: batches in, updates out, with a state that resumes exactly."""

from __future__ import annotations

import logging
import math
import pathlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hainan_k2.config import as_dict, option
from hainan_k2.data.batch import Batch
from hainan_k2.data.batches import TooManyUnreadable, TrainingData
from hainan_k2.formats.average import RunningAverage
from hainan_k2.formats.checkpoint import LAST, epoch_name, save_checkpoint
from hainan_k2.model.hainan import Hainan
from hainan_k2.stopwatch import Stopwatch
from hainan_k2.training.interrupts import uninterrupted
from hainan_k2.training.objective import LossConfig, hainan_losses
from hainan_k2.training.optim import OptimConfig, learning_rate, make_optimizer, set_learning_rate
from hainan_k2.training.trainlog import TrainLog
from hainan_k2.training.validation import Evaluator


@dataclass
class Progress:
    """Where training stands. Everything that the next update depends on, besides weights and optimiser."""

    epoch: int = 1  # the one under way, from 1
    batch: int = 0  # batches of it that are done
    updates: int = 0
    heard: float = 0.0  # seconds of audio, over all epochs
    skipped: int = 0  # updates that a non-finite loss or gradient cost
    unspelled: int = 0  # utterances that no path can spell, over all epochs


@dataclass(frozen=True)
class LoopConfig:
    num_epochs: int = option(30, "epochs to train", at_least=1)
    save_every: int = option(500, "updates between checkpoints within an epoch", at_least=1)
    log_every: int = option(50, "updates between log lines where there is no terminal", at_least=1)
    keep_epochs: int = option(10, "epoch checkpoints kept, the newest ones", at_least=1)
    precision: str = option(
        "float32", "bfloat16: encoder and joint in bfloat16 where the device has it", ("float32", "bfloat16")
    )
    average_every: int = option(
        100, "updates between samples of the running average in checkpoints; 0: none is kept", at_least=0
    )
    profile: bool = option(False, "at the end, print where the time went")


class Trainer:
    """Owns model, optimiser and progress. `run` trains to the end; a checkpoint is written at every epoch's end, every
    `save_every` updates and when interrupted."""

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
        self.progress = Progress()
        self.average = RunningAverage(loop.average_every)
        self.watch = Stopwatch(synchronise=loop.profile)

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "model_config": as_dict(self.model.config),
            "optimizer": self.optimizer.state_dict(),
            "progress": vars(self.progress).copy(),
            "average": self.average.state(),
            "provenance": self.provenance,
        }

    def load(self, state: dict[str, Any], path: pathlib.Path) -> None:
        """Go on from a checkpoint; ValueError where it is of a model with other options, or not complete."""
        if state.get("model_config") != as_dict(self.model.config):
            theirs = state.get("model_config") or {}
            changed = [k for k, v in as_dict(self.model.config).items() if theirs.get(k) != v]
            raise ValueError(
                f"{path} was trained with another {', '.join(changed)}: use the same options or another --exp-dir"
            )
        try:
            self.model.load_state_dict(state["model"])
            peaks = [group["peak"] for group in self.optimizer.param_groups]  # today's options, not the checkpoint's
            self.optimizer.load_state_dict(state["optimizer"])
            for group, peak in zip(self.optimizer.param_groups, peaks):
                group["peak"] = peak
            self.progress = Progress(**state["progress"])
            self.average.load(state.get("average"))
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{path} is not a checkpoint of this training: {' '.join(str(error).split())}") from None

    def save(self, name: str = LAST) -> None:
        with uninterrupted(), self.watch.section("checkpoints"):
            save_checkpoint(self.exp_dir / name, self.state())

    def run(self, training: TrainingData, evaluator: Evaluator) -> None:
        """Train from where `progress` stands. KeyboardInterrupt passes through after a checkpoint is written."""
        p, log = self.progress, TrainLog(self.exp_dir, self.progress.updates, self.progress.epoch, self.loop.log_every)
        log.begin(p.heard)
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
            logging.warning(
                "interrupted at epoch %d, update %d; %s holds everything: the same command continues",
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
        if not batch.ids:  # none of its cuts could be read
            p.batch += 1
            return
        fraction = learning_rate(self.optim, p.updates, p.heard / planned)
        set_learning_rate(self.optimizer, fraction)
        values = self._update(batch)
        p.batch += 1
        seconds = sum(batch.seconds)
        p.heard += seconds
        if values is not None:
            p.updates += 1
            with self.watch.section("optimizer"):
                self.average.update(self.model, p.updates)
            values = {"update": p.updates, "epoch": p.epoch, "lr": self.optim.lr * fraction, **values}
            with self.watch.section("log"):
                log.update(values, p.heard / planned, seconds)

    def _update(self, batch: Batch) -> dict[str, float] | None:
        """One update; None, after saying which cuts caused it, where the loss, its gradient or the statistics of a
        batch norm are not finite. The model is then what it was before, statistics included."""
        self.model.train()
        statistics = [buffer.clone() for buffer in self.model.buffers()]
        # Masks and dropout follow from the number of the update, not from what was drawn before: a resumed run, which
        # draws less, sees the same.
        torch.manual_seed(self.seed * 1_000_003 + self.progress.updates + self.progress.skipped)
        batch = batch.to(self.device)
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
            )
        self.progress.unspelled += len(losses.unspelled)
        if losses.unspelled:
            logging.warning(
                "too few frames for the labels of %s: a loss left them out",
                " ".join(batch.ids[b] for b in losses.unspelled),
            )
        if not losses.finite:
            return self._skip("loss", batch, statistics)
        with self.watch.section("backward"):
            self.optimizer.zero_grad(set_to_none=True)
            losses.total.backward()
        with self.watch.section("optimizer"):
            norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.optim.clip_norm))
            if not math.isfinite(norm):
                return self._skip("gradient", batch, statistics)
            if not all_finite(self.model.buffers()):
                return self._skip("a batch norm", batch, statistics)
            self.optimizer.step()
        return {"loss": float(losses.total.detach()), "grad_norm": norm, **losses.per_label()}

    def _skip(self, what: str, batch: Batch, statistics: list[Tensor]) -> None:
        for buffer, before in zip(self.model.buffers(), statistics):
            buffer.copy_(before)
        self.progress.skipped += 1
        logging.warning(
            "update skipped (%d so far): %s is not finite; cuts %s", self.progress.skipped, what, " ".join(batch.ids)
        )

    def _finish_epoch(self, figures: dict[str, float], log: TrainLog) -> None:
        p = self.progress
        log.epoch({"epoch": p.epoch, "update": p.updates, **figures, "skipped": p.skipped, "unspelled": p.unspelled})
        p.epoch, p.batch = p.epoch + 1, 0
        self.save(epoch_name(p.epoch - 1))
        self.save()
        stale = self.exp_dir / epoch_name(p.epoch - 1 - self.loop.keep_epochs)
        if stale.exists():
            stale.unlink()


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether every number is finite, by one transfer from the device."""
    return bool(torch.stack([torch.isfinite(tensor).all() for tensor in tensors] or [torch.tensor(True)]).all())
