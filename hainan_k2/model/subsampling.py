"""8x depthwise-striding subsampling, the first layers of FastConformer (arXiv 2305.05084, section 3.1)."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

Length = TypeVar("Length", int, Tensor)


def subsampled_length(length: Length) -> Length:
    """The number of encoder frames of `length` feature frames, after three convolutions of stride 2."""
    for _ in range(3):
        length = (length - 1) // 2 + 1
    return length


class DepthwiseStriding(nn.Module):
    """Three 3x3 convolutions of stride 2 over time and mel bins, the last two depthwise-separable.

    Frames beyond an utterance's length are zeroed before every strided convolution, so that its output does not depend
    on the padding.
    """

    def __init__(self, num_mel_bins: int, channels: int, d_model: int) -> None:
        super().__init__()

        def depthwise() -> nn.Conv2d:
            return nn.Conv2d(channels, channels, 3, stride=2, padding=1, groups=channels)

        self.conv = nn.Sequential(
            nn.Conv2d(1, channels, 3, stride=2, padding=1),
            nn.ReLU(),
            depthwise(),
            nn.Conv2d(channels, channels, 1),
            nn.ReLU(),
            depthwise(),
            nn.Conv2d(channels, channels, 1),
            nn.ReLU(),
        )
        self.out = nn.Linear(channels * subsampled_length(num_mel_bins), d_model)
        # With torch's default weights the signal shrinks in every convolution, until the biases are ten times as large,
        # and small models need many updates to recover from that.
        for layer in (*self.conv, self.out):
            if not isinstance(layer, nn.ReLU):
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, T, F) and lengths (B,) to (B, T', d_model) and (B,), T' = ceil(T / 8)."""
        x = features.unsqueeze(1)
        for layer in self.conv:
            if isinstance(layer, nn.Conv2d) and layer.stride[0] == 2:
                frames = torch.arange(x.shape[2], device=x.device)
                x = x * (frames < lens[:, None])[:, None, :, None].to(x.dtype)
                lens = (lens - 1) // 2 + 1
            x = layer(x)
        batch, channels, time, bins = x.shape
        return self.out(x.transpose(1, 2).reshape(batch, time, channels * bins)), lens
