"""Updates of the weights, each from one batch or several, in one process or many."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Optional

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hainan_k2.data.batch import Batch
from hainan_k2.model.hainan import Hainan
from hainan_k2.stopwatch import Stopwatch
from hainan_k2.training.objective import LossConfig, Losses, hainan_losses
from hainan_k2.training.precision import autocast, loss_scaler
from hainan_k2.training.progress import TrainingProgress
from hainan_k2.training.ranks import Ranks

logger = logging.getLogger(__name__)


class Objective(nn.Module):
    """The objective of a batch as a module, which DistributedDataParallel can wrap; `losses` are its last Losses."""

    losses: Losses

    def __init__(self, model: Hainan, config: LossConfig, device: torch.device, precision: str):
        super().__init__()
        self.model, self.config, self.device, self.precision = model, config, device, precision

    def forward(self, batch: Batch, updates: int, watch: Stopwatch) -> Tensor:
        """The total per label, a scalar; `updates` are those done so far."""
        assert batch.targets is not None and batch.target_lens is not None  # TrainingData has both
        with autocast(self.device, self.precision):
            self.losses = hainan_losses(
                self.model,
                batch.features,
                batch.lens,
                batch.targets,
                batch.target_lens,
                self.config,
                updates,
                watch,
                batch.encoded,
            )
        return self.losses.total


class Updater:
    """Makes updates of a model.

    The losses of an update are divided by the labels of all its batches, in all ranks, so that neither the number of
    ranks nor the number of batches per update changes the weight of an utterance. Batch norms take their statistics
    from the batches that all ranks compute at the same time, but not from the other batches of an update.
    """

    def __init__(
        self,
        model: Hainan,
        optimizer: torch.optim.Optimizer,
        config: LossConfig,
        clip_norm: float,
        precision: str,
        seed: int,
        ranks: Ranks,
        watch: Stopwatch,
    ):
        self.model, self.optimizer, self.clip_norm = model, optimizer, clip_norm
        self.seed, self.ranks, self.watch = seed, ranks, watch
        self.plain = Objective(model, config, ranks.device, precision)
        self.objective: nn.Module = self.plain
        self.scaler = loss_scaler(ranks.device, precision)

    def share_gradients(self) -> None:
        """Sum gradients and batch norm statistics over the ranks from now on."""
        if self.ranks.size > 1:
            self.ranks.share_statistics(self.model)
            config, model = self.plain.config, self.model
            idle_heads = config.loss == "full" or config.ctc_scale == 0 or model.config.objective != "tdt"
            idle = idle_heads or model.pretrained is not None  # stored states of the pretrained encoder replace it
            self.objective = DistributedDataParallel(
                self.plain,
                broadcast_buffers=False,  # every rank computes the same statistics
                find_unused_parameters=idle,
            )

    def update(self, batches: Sequence[Batch], labels: int, progress: TrainingProgress) -> Optional[dict[str, float]]:
        """Make an update and return its losses per label.

        Where a loss, its gradient or the statistics of a batch norm are not finite, it logs the cuts, leaves the model
        as it was, statistics included, and returns None.

        Args:
          batches: of this rank; every rank has as many.
          labels: their number of labels in all ranks.
        """
        self.model.train()
        statistics = [buffer.clone() for buffer in self.model.buffers()]
        self.optimizer.zero_grad(set_to_none=True)
        ids = [name for batch in batches for name in batch.ids]
        sums: Counter[str] = Counter()
        for number, batch in enumerate(batches):
            finite = self._add_gradient(batch, number, number + 1 == len(batches), labels, progress, sums)
            if not finite:
                self._skip("loss", ids, statistics, progress)
                return None
        with self.watch.section("optimizer"):
            self.scaler.unscale_(self.optimizer)
            norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm))
            if not math.isfinite(norm):
                if self.scaler.is_enabled():  # too large for float16: try the next update with a smaller scale
                    self.scaler.update(self.scaler.get_scale() * self.scaler.get_backoff_factor())
                self._skip("gradient", ids, statistics, progress)
                return None
            if not all_finite(self.model.buffers()):
                self.scaler.update()  # ends the update: gradients are divided by the scale once in each
                self._skip("a batch norm", ids, statistics, progress)
                return None
            self.scaler.step(self.optimizer)
            self.scaler.update()
        total = sums.pop("loss")
        return {"loss": total, "grad_norm": norm, **{name: value / max(1, labels) for name, value in sums.items()}}

    def _add_gradient(
        self, batch: Batch, number: int, last: bool, labels: int, progress: TrainingProgress, sums: Counter[str]
    ) -> bool:
        """Add the gradient of batch `number` of the update to that of the weights, and its losses to `sums`: "loss" per
        label, the parts in nats. Returns whether the loss is finite in all ranks."""
        # Seeded by the numbers of update and batch, so that a resumed run draws the same masks and dropout.
        seed = self.seed * 1_000_003 + progress.updates + progress.skipped
        torch.manual_seed(seed + ((number * self.ranks.size + self.ranks.rank) % 2**12 << 50))
        assert batch.target_lens is not None
        own = max(1, int(batch.target_lens.sum()))
        with nullcontext() if last else self._without_sum():
            total = self.objective(batch.to(self.ranks.device), progress.updates, self.watch)
            losses = self.plain.losses
            share = total * (own / max(1, labels))
            self._report_unalignable(batch, losses)
            figures = {"loss": float(share.detach()), **{k: float(v) for k, v in losses.parts.items()}}
            listed = self.ranks.agreed(lambda: (figures, losses.finite, len(losses.unalignable)))
            for of_rank, _, unalignable in listed:
                sums.update(of_rank)
                progress.unalignable += unalignable
            if not all(finite for _, finite, _ in listed):
                return False
            with self.watch.section("backward"):
                self.scaler.scale(share * self.ranks.size).backward()  # gradients are averaged over ranks
        return True

    def _without_sum(self) -> AbstractContextManager[None]:
        """A context whose gradients are not summed over the ranks: only the last batch of an update sums, once."""
        objective: Any = self.objective  # DistributedDataParallel.no_sync has no annotations
        return nullcontext() if objective is self.plain else objective.no_sync()

    def _report_unalignable(self, batch: Batch, losses: Losses) -> None:
        if losses.unalignable:
            logger.warning(
                "too few frames for the labels of %s: left out of a loss",
                " ".join(batch.ids[b] for b in losses.unalignable),
            )

    def _skip(self, what: str, ids: Iterable[str], statistics: list[Tensor], progress: TrainingProgress) -> None:
        for buffer, before in zip(self.model.buffers(), statistics):
            buffer.copy_(before)
        progress.skipped += 1
        logger.warning(
            "update skipped (%d so far): %s is not finite; cuts %s",
            progress.skipped,
            what,
            " ".join(name for names in self.ranks.agreed(lambda: list(ids)) for name in names),
        )

    def state(self) -> dict[str, Any]:
        """The values that a checkpoint stores: those of the loss scaler, none where nothing is scaled."""
        return dict(self.scaler.state_dict())

    def load(self, state: Optional[dict[str, Any]]) -> None:
        """Continue with the loss scale of a checkpoint, if it has one."""
        if state and self.scaler.is_enabled():
            self.scaler.load_state_dict(state)


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether every number of the tensors is finite; one transfer from the device for all of them."""
    return bool(torch.stack([torch.isfinite(tensor).all() for tensor in tensors] or [torch.tensor(True)]).all())
