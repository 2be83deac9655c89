"""Multi-head self-attention with relative positions (Transformer-XL, arXiv 1901.02860, section 3.3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def relative_positions(length: int, d_model: int, like: Tensor) -> Tensor:
    """Sinusoids of the offsets length-1 ... 1-length: (2 * length - 1, d_model), of `like`'s dtype and device."""
    offsets = torch.arange(length - 1, -length, -1, device=like.device, dtype=torch.float32)
    inverse = torch.exp(torch.arange(0, d_model, 2, device=like.device) * (-math.log(10000.0) / d_model))
    angles = offsets[:, None] * inverse
    return torch.stack([angles.sin(), angles.cos()], dim=2).reshape(2 * length - 1, d_model).to(like.dtype)


def shift_to_relative(scores: Tensor) -> Tensor:
    """Scores per (query, offset), (B, H, T, 2T-1), as scores per (query, key), (B, H, T, T).

    Columns are the offsets T-1 ... 1-T. Key k of query q is at column T-1-q+k, which a strided view reads without a
    copy; ONNX has no such view, and the graph pads and slices instead.
    """
    batch, heads, time, width = scores.shape
    if torch.onnx.is_in_onnx_export():
        rows = nn.functional.pad(scores, (0, 1)).flatten(2)
        return rows[:, :, time - 1 : -1].reshape(batch, heads, time, width)[..., :time]
    scores = scores.contiguous()
    b, h, t, w = (scores.stride(dim) for dim in range(4))
    return scores.as_strided((batch, heads, time, time), (b, h, t - w, w), scores.storage_offset() + (time - 1) * w)


class RelPositionAttention(nn.Module):
    """Self-attention whose scores are a content term plus a position term, each with a learned query bias."""

    def __init__(self, d_model: int, num_heads: int, dropout: float, bias: bool = True) -> None:
        super().__init__()
        if d_model % num_heads:
            raise ValueError(f"d_model {d_model} is not a multiple of num_heads {num_heads}")
        self.num_heads, self.head_dim = num_heads, d_model // num_heads
        self.linear_q = nn.Linear(d_model, d_model, bias=bias)
        self.linear_k = nn.Linear(d_model, d_model, bias=bias)
        self.linear_v = nn.Linear(d_model, d_model, bias=bias)
        self.linear_out = nn.Linear(d_model, d_model, bias=bias)
        self.linear_pos = nn.Linear(d_model, d_model, bias=False)
        self.pos_bias_u = nn.Parameter(torch.zeros(num_heads, self.head_dim))
        self.pos_bias_v = nn.Parameter(torch.zeros(num_heads, self.head_dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, positions: Tensor, padding: Tensor) -> Tensor:
        """Attend over the frames of each utterance.

        Args:
          x: (B, T, C) frames.
          positions: (2T-1, C) from `relative_positions`.
          padding: (B, T) bool, True where there is no frame.
        Returns:
          (B, T, C).
        """
        batch, time, channels = x.shape

        def heads(y: Tensor) -> Tensor:
            return y.view(y.shape[0], -1, self.num_heads, self.head_dim).transpose(1, 2)

        q, k, v = heads(self.linear_q(x)), heads(self.linear_k(x)), heads(self.linear_v(x))
        p = heads(self.linear_pos(positions).unsqueeze(0))
        content = torch.matmul(q + self.pos_bias_u[:, None], k.transpose(2, 3))
        position = shift_to_relative(torch.matmul(q + self.pos_bias_v[:, None], p.transpose(2, 3)))
        scores = (content + position) * (self.head_dim**-0.5)
        masked = padding[:, None, None, :]
        weights = scores.masked_fill(masked, torch.finfo(scores.dtype).min).softmax(dim=3).masked_fill(masked, 0.0)
        y = torch.matmul(self.dropout(weights), v)
        return self.linear_out(y.transpose(1, 2).reshape(batch, time, channels))
