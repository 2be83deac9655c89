"""Batch normalisation of padded batches."""

from __future__ import annotations

from typing import Any, Optional

import torch
from torch import Tensor, nn


class SumOverRanks(torch.autograd.Function):
    """The sum of a tensor over the ranks of a group; its gradient is summed over them, too.

    torch.distributed.nn.functional.all_reduce does the same, and newer torch warns that it will go.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, group: Any) -> Tensor:
        ctx.group = group
        return _sum_over_ranks(value, group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _sum_over_ranks(gradient, ctx.group), None


def _sum_over_ranks(value: Tensor, group: Any) -> Tensor:
    summed = value.clone(memory_format=torch.contiguous_format)
    torch.distributed.all_reduce(summed, group=group)
    return summed


class MaskedBatchNorm(nn.BatchNorm1d):
    """nn.BatchNorm1d that leaves padding out of the batch statistics, so that training does not depend on padding.

    Weights and running statistics are those of nn.BatchNorm1d, and so is the output in evaluation mode. With a `group`
    of torch.distributed, the statistics are those of the frames of all its ranks, and gradients flow through them.

    >>> norm = MaskedBatchNorm(8)
    >>> norm(torch.randn(2, 8, 5), torch.arange(5) >= torch.tensor([[5], [3]])).shape
    torch.Size([2, 8, 5])
    """

    group: Optional[Any] = None

    def forward(self, input: Tensor, padding: Optional[Tensor] = None) -> Tensor:
        """Normalise a padded batch.

        Args:
          input: (B, C, T).
          padding: (B, T) bool, True where there is no frame; None if nothing is padded.
        Returns:
          (B, C, T) in the dtype of `input`; in training, padding becomes the bias.
        """
        if padding is None or not self.training:
            return super().forward(input)
        frames = padding.numel() - padding.sum()
        no_frame = padding[:, None, :]
        x = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input  # sums need float32
        total = x.masked_fill(no_frame, 0.0).sum((0, 2))
        if self.group is not None:
            summed = self._over_ranks(torch.cat([total, frames[None].to(total.dtype)]))
            total, frames = summed[:-1], summed[-1].detach()
        mean = total / frames
        centred = (x - mean[:, None]).masked_fill(no_frame, 0.0)
        squares = centred.square().sum((0, 2))
        variance = (squares if self.group is None else self._over_ranks(squares)) / frames
        self._track(mean.detach(), variance.detach() * (frames / (frames - 1).clamp(min=1)))
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None] + self.bias[:, None]).to(input.dtype)

    def _over_ranks(self, value: Tensor) -> Tensor:
        summed: Tensor = SumOverRanks.apply(value, self.group)
        return summed

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        """Update the running statistics with a batch's mean (C,) and unbiased variance (C,)."""
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), momentum)
