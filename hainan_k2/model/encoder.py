"""The FastConformer encoder (arXiv 2305.05084). Parameters have the names that NeMo's checkpoints use."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hainan_k2.config import ModelConfig
from hainan_k2.model.attention import RelPositionAttention, relative_positions
from hainan_k2.model.norm import MaskedBatchNorm
from hainan_k2.model.subsampling import DepthwiseStriding


class FeedForward(nn.Module):
    """Two linear layers with SiLU and dropout between them."""

    def __init__(self, d_model: int, hidden: int, dropout: float, bias: bool) -> None:
        super().__init__()
        self.linear1 = nn.Linear(d_model, hidden, bias=bias)
        self.linear2 = nn.Linear(hidden, d_model, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(nn.functional.silu(self.linear1(x))))


class ConvolutionModule(nn.Module):
    """Pointwise convolution with GLU, depthwise convolution over time, batch norm, SiLU, pointwise convolution."""

    def __init__(self, d_model: int, kernel: int, bias: bool) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"conv_kernel is {kernel}: it must be odd, so that its frames are centred")
        self.pointwise_conv1 = nn.Conv1d(d_model, 2 * d_model, 1, bias=bias)
        self.depthwise_conv = nn.Conv1d(d_model, d_model, kernel, padding=kernel // 2, groups=d_model, bias=bias)
        self.batch_norm = MaskedBatchNorm(d_model)
        self.pointwise_conv2 = nn.Conv1d(d_model, d_model, 1, bias=bias)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        x = nn.functional.glu(self.pointwise_conv1(x.transpose(1, 2)), dim=1)
        x = x.masked_fill(padding[:, None, :], 0.0)
        x = nn.functional.silu(self.batch_norm(self.depthwise_conv(x), padding))
        return self.pointwise_conv2(x).transpose(1, 2)


class ConformerLayer(nn.Module):
    """Half feed-forward, self-attention, convolution, half feed-forward; each a residual branch with a layer norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c = config
        self.norm_feed_forward1 = nn.LayerNorm(c.d_model)
        self.feed_forward1 = FeedForward(c.d_model, c.ffn_factor * c.d_model, c.dropout, c.bias)
        self.norm_self_att = nn.LayerNorm(c.d_model)
        self.self_attn = RelPositionAttention(c.d_model, c.num_heads, c.dropout, c.bias, c.attention_context)
        self.norm_conv = nn.LayerNorm(c.d_model)
        self.conv = ConvolutionModule(c.d_model, c.conv_kernel, c.bias)
        self.norm_feed_forward2 = nn.LayerNorm(c.d_model)
        self.feed_forward2 = FeedForward(c.d_model, c.ffn_factor * c.d_model, c.dropout, c.bias)
        self.norm_out = nn.LayerNorm(c.d_model) if c.norm_out else nn.Identity()
        self.dropout = nn.Dropout(c.dropout)

    def forward(self, x: Tensor, positions: Tensor, padding: Tensor) -> Tensor:
        x = x + 0.5 * self.dropout(self.feed_forward1(self.norm_feed_forward1(x)))
        x = x + self.dropout(self.self_attn(self.norm_self_att(x), positions, padding))
        x = x + self.dropout(self.conv(self.norm_conv(x), padding))
        x = x + 0.5 * self.dropout(self.feed_forward2(self.norm_feed_forward2(x)))
        return self.norm_out(x)


def check_features(features: Tensor, lens: Tensor) -> None:
    """ValueError unless features are (B, T, F) and lens (B,) are in [1, T]."""
    if features.ndim != 3 or lens.shape != features.shape[:1]:
        raise ValueError(f"features {tuple(features.shape)} should be (B, T, F), lens {tuple(lens.shape)} (B,)")
    if int(lens.min()) < 1 or int(lens.max()) > features.shape[1]:
        raise ValueError(f"lens {lens.tolist()} must be in [1, {features.shape[1]}], the frames of the batch")


class FastConformer(nn.Module):
    """Log-mel features, one per 10 ms, to encoder frames, one per 80 ms."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.d_model, self.context = config.d_model, config.attention_context
        self.scale = config.d_model**0.5 if config.xscaling else 1.0
        self.pre_encode = DepthwiseStriding(config.num_mel_bins, config.subsampling_channels, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(ConformerLayer(config) for _ in range(config.num_layers))

    def forward(self, features: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a padded batch. Values beyond an utterance's length have no influence on its frames.

        Args:
          features: (B, T, F) log-mel, 10 ms frames.
          lens: (B,) int64, number of feature frames of every utterance.
        Returns:
          Encoder output (B, T', d_model), 80 ms frames, T' = ceil(T / 8), of the features' dtype whatever that of the
          weights; and its lengths (B,).
        Raises:
          ValueError: for a length outside [1, T].
        """
        check_features(features, lens)
        dtype, features = features.dtype, features.to(self.pre_encode.conv[0].weight.dtype)
        x, lens = self.pre_encode(features, lens)
        padding = torch.arange(x.shape[1], device=x.device) >= lens[:, None]
        positions = relative_positions(x.shape[1], self.d_model, x, self.context)
        x = self.dropout(x.to(features.dtype) * self.scale)  # the residual stream stays in float32 under autocast
        for layer in self.layers:
            x = layer(x, positions, padding)
        return x.to(dtype), lens
