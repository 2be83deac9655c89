"""Batch normalisation of padded batches."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MaskedBatchNorm(nn.BatchNorm1d):
    """nn.BatchNorm1d, with the same weights and statistics, that leaves padding out of the statistics of training.

    So what a batch teaches does not depend on how far it is padded. In evaluation it is nn.BatchNorm1d.

    >>> norm = MaskedBatchNorm(8)
    >>> norm(torch.randn(2, 8, 5), torch.arange(5) >= torch.tensor([[5], [3]])).shape
    torch.Size([2, 8, 5])
    """

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        """x (B, C, T), padding (B, T) True where there is no frame -> (B, C, T); where there is no frame training puts
        out the bias."""
        if not self.training:
            return super().forward(x)
        frames = padding.numel() - padding.sum()
        hidden, kind = padding[:, None, :], x.dtype
        if kind in (torch.float16, torch.bfloat16):  # under autocast; sums want float32
            x = x.float()
        mean = x.masked_fill(hidden, 0.0).sum((0, 2)) / frames
        centred = (x - mean[:, None]).masked_fill(hidden, 0.0)
        variance = centred.square().sum((0, 2)) / frames
        self._track(mean.detach(), variance.detach() * (frames / (frames - 1).clamp(min=1)))
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None] + self.bias[:, None]).to(kind)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics (C,) towards a batch's, the variance being the unbiased one."""
        self.num_batches_tracked.add_(1)
        momentum = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), momentum)
