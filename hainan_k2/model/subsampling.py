"""8x depthwise-striding subsampling, FastConformer's front (arXiv 2305.05084, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hainan_k2.frames import subsampled_length


class DepthwiseStriding(nn.Module):
    """Three 3x3 convolutions of stride 2 over time and mel bins, the last two depthwise-separable.

    Frames beyond an utterance's length are zeroed before every strided convolution, so that an utterance's output does
    not depend on how far its batch pads it.
    """

    def __init__(self, num_mel_bins: int, channels: int, d_model: int):
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
        # With torch's own weights the signal fades from convolution to convolution, until the constant that the biases
        # add is ten times as large; a small model then needs many updates to find it.
        for layer in (*self.conv, self.out):
            if not isinstance(layer, nn.ReLU):
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, F) features and (B,) lengths -> (B, T', d_model) and (B,), T' = ceil(T / 8)."""
        x = features.unsqueeze(1)
        for layer in self.conv:
            if isinstance(layer, nn.Conv2d) and layer.stride[0] == 2:
                frames = torch.arange(x.shape[2], device=x.device)
                x = x * (frames < lens[:, None])[:, None, :, None].to(x.dtype)
                lens = (lens - 1) // 2 + 1
            x = layer(x)
        batch, channels, time, bins = x.shape
        return self.out(x.transpose(1, 2).reshape(batch, time, channels * bins)), lens
