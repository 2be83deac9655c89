"""The options that all transducer losses share."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from hainan_k2.fsa import checks

logger = logging.getLogger(__name__)

REDUCTIONS = ("none", "sum", "mean", "mean_volume")
BACKENDS = ("auto", "k2", "torch")


@dataclass(frozen=True)
class LossOptions:
    """Options of `tdt_loss`, `tdt_loss_pruned`, `tdt_loss_simple` and `rnnt_loss`.

    Every loss takes them by name or as one object; names override fields of the object:

    >>> options = LossOptions(sigma=0.05, reduction="sum")
    >>> loss = tdt_loss(logits, targets, frame_lens, target_lens, durations, options=options, backend="torch")

    Args:
      sigma: logit under-normalisation (TDT, arXiv 2304.06795): subtracted from every token log-probability. Use it in
        training, leave it 0 in validation.
      reduction: "none" returns (B,) losses, "sum" their sum, "mean" their mean over utterances, "mean_volume" their sum
        divided by the number of labels in the batch.
      backend: "k2", "torch", or "auto": k2 where it works on the device, otherwise torch. Both return the same values.
      fastemit_lambda: FastEmit (arXiv 2010.11148): in the gradient of the token logits, label emissions are multiplied
        by 1 + lambda. The value of the loss and the gradient of the duration logits do not change.
      clamp: if positive, every token logit's gradient is limited to [-clamp, clamp]. The limit applies to the gradient
        of the utterance's own loss, before the reduction or later factors scale it.
      zero_infinity: replace infinite losses by 0 and log how many there were.
      zero_penalty: subtracted from the log-probability of duration 0 on every arc; `tdt_loss_simple` and `rnnt_loss`
        ignore it. Like sigma, for training.

    Raises:
      ValueError: for an unknown reduction or backend, and for negative numbers.
    """

    sigma: float = 0.0
    reduction: str = "mean"
    backend: str = "auto"
    fastemit_lambda: float = 0.0
    clamp: float = 0.0
    zero_infinity: bool = False
    zero_penalty: float = 0.0

    def __post_init__(self) -> None:
        checks.check_option("reduction", self.reduction, REDUCTIONS)
        checks.check_option("backend", self.backend, BACKENDS)
        checks.check_not_negative(sigma=self.sigma, fastemit_lambda=self.fastemit_lambda, clamp=self.clamp)
        checks.check_not_negative(zero_penalty=self.zero_penalty)

    @classmethod
    def merged(cls, options: LossOptions | None, overrides: Mapping[str, Any]) -> LossOptions:
        """`options`, or the defaults where None, with the named overrides; TypeError on an unknown name."""
        names = [f.name for f in fields(cls)]
        unknown = sorted(set(overrides) - set(names))
        if unknown:
            raise TypeError(f"no loss option {', '.join(unknown)}; there are {', '.join(names)}")
        return replace(cls() if options is None else options, **overrides)

    def reduce(self, losses: Tensor, target_lens: Tensor, dtype: torch.dtype) -> Tensor:
        """(B,) losses reduced as `reduction` and `zero_infinity` demand, in `dtype`."""
        if self.zero_infinity:
            infinite = losses.isposinf()
            count = int(infinite.sum())
            if count:
                logger.warning("loss 0 for %d of %d utterances: no path emits all their labels", count, losses.numel())
                losses = losses.masked_fill(infinite, 0.0)
        if self.reduction == "sum":
            losses = losses.sum()
        elif self.reduction == "mean":
            losses = losses.mean()
        elif self.reduction == "mean_volume":
            losses = losses.sum() / max(1, int(target_lens.sum()))
        return losses.to(dtype)
