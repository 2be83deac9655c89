"""Multi-head self-attention: plain, and with relative positions (Transformer-XL, arXiv 1901.02860, section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

BLOCK = 256  # queries that attend at a time


def relative_positions(length: int, d_model: int, like: Tensor, context: Sequence[int] = (-1, -1)) -> Tensor:
    """Sinusoids of the offsets that occur in attention over `length` frames, of `like`'s dtype and device.

    Args:
      context: as in `RelPositionAttention`.
    Returns:
      (2 * length - 1, d_model) for the offsets length-1 ... 1-length; (left + 1 + right, d_model) for the offsets
      left ... -right if both sides are limited.
    """
    left, right = context if is_local(context) else (length - 1, length - 1)
    offsets = torch.arange(left, -right - 1, -1, device=like.device, dtype=torch.float32)
    inverse = torch.exp(torch.arange(0, d_model, 2, device=like.device) * (-math.log(10000.0) / d_model))
    angles = offsets[:, None] * inverse
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1).to(like.dtype)


def is_local(context: Sequence[int]) -> bool:
    """Whether frames are searched in blocks, as they attend to a limited number of frames on both sides.

    An ONNX graph has no loop over blocks, and masks the other frames instead.
    """
    return min(context) >= 0 and not torch.onnx.is_in_onnx_export()


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


def shift_to_band(scores: Tensor) -> Tensor:
    """Scores per (query, offset), (B, H, S, W), as scores per (query, key), (B, H, S, S + W - 1).

    Offset w of query q is key q + w; the scores of all other keys are 0.

    >>> shift_to_band(torch.tensor([[[[1, 2], [3, 4]]]])).tolist()
    [[[[1, 2, 0], [0, 3, 4]]]]
    """
    batch, heads, queries, width = scores.shape
    keys = queries + width - 1
    rows = nn.functional.pad(scores, (0, queries)).flatten(2)  # each row one longer than the result's: a shift by one
    return rows[..., : queries * keys].view(batch, heads, queries, keys)


def dot_product_attention(q: Tensor, k: Tensor, v: Tensor, padding: Tensor) -> Tensor:
    """Attention without positions: softmax(q k / sqrt(E)) v.

    The scores of half a minute do not fit the cache, and writing them takes longer than everything else of an encoder.
    torch 2 has kernels that do not store them; before it, a block of queries is done at a time.

    Args:
      q, k, v: (B, H, T, E) queries, keys and values.
      padding: (B, T) bool, True for keys that are not seen; at least one of each utterance is.
    Returns:
      (B, H, T, E).
    """
    masked = padding[:, None, None, :]
    exporting = torch.onnx.is_in_onnx_export()
    if hasattr(nn.functional, "scaled_dot_product_attention") and not exporting:
        return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=~masked)

    def attend(queries: Tensor) -> Tensor:
        scores = torch.matmul(queries, k.transpose(2, 3))
        weights = scores.masked_fill_(masked, torch.finfo(scores.dtype).min).softmax(dim=3)
        return torch.matmul(weights.to(v.dtype), v)

    q = q * (q.shape[-1] ** -0.5)
    return attend(q) if exporting else torch.cat([attend(queries) for queries in q.split(BLOCK, dim=2)], dim=2)


class RelPositionAttention(nn.Module):
    """Self-attention whose scores are a content term plus a position term, each with a learned query bias.

    Args:
      context: frames on the left and on the right that a frame attends to, -1 for all. If both are limited, the frames
        are searched in blocks, and memory is linear in their number.
    """

    def __init__(
        self, d_model: int, num_heads: int, dropout: float, bias: bool = True, context: Sequence[int] = (-1, -1)
    ) -> None:
        super().__init__()
        if d_model % num_heads:
            raise ValueError(f"d_model {d_model} is not a multiple of num_heads {num_heads}")
        self.num_heads, self.head_dim = num_heads, d_model // num_heads
        self.left, self.right = context
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
          positions: from `relative_positions`, with the same context.
          padding: (B, T) bool, True where there is no frame.
        Returns:
          (B, T, C).
        """
        batch, time, channels = x.shape

        def heads(y: Tensor) -> Tensor:
            return y.view(y.shape[0], -1, self.num_heads, self.head_dim).transpose(1, 2)

        q, k, v = heads(self.linear_q(x)), heads(self.linear_k(x)), heads(self.linear_v(x))
        p = heads(self.linear_pos(positions).unsqueeze(0))
        if is_local((self.left, self.right)):
            y = self._local(q, k, v, p, padding)
        else:
            position = shift_to_relative(torch.matmul(q + self.pos_bias_v[:, None], p.transpose(2, 3)))
            masked = padding[:, None, None, :]
            if self.left >= 0 or self.right >= 0:
                masked = masked | self._outside(torch.arange(time, device=x.device))
            y = self._attend(q, k, v, position, masked)
        return self.linear_out(y.transpose(1, 2).reshape(batch, time, channels))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, position: Tensor, masked: Tensor) -> Tensor:
        """(B, H, Q, E) from queries (B, H, Q, E), keys and values (B, H, K, E), and position scores (B, H, Q, K)."""
        content = torch.matmul(q + self.pos_bias_u[:, None], k.transpose(2, 3))
        scores = (content + position) * (self.head_dim**-0.5)
        weights = scores.masked_fill(masked, torch.finfo(scores.dtype).min).softmax(dim=3).masked_fill(masked, 0.0)
        return torch.matmul(self.dropout(weights), v)

    def _outside(self, frames: Tensor) -> Tensor:
        """(T, T) bool: whether the key (column) is outside the context of the query (row)."""
        offset = frames - frames[:, None]
        outside = torch.zeros_like(offset, dtype=torch.bool)
        if self.left >= 0:
            outside = outside | (offset < -self.left)
        if self.right >= 0:
            outside = outside | (offset > self.right)
        return outside

    def _local(self, q: Tensor, k: Tensor, v: Tensor, p: Tensor, padding: Tensor) -> Tensor:
        """Attention of blocks of queries to the keys in their context. Key 0 of a block is `left` frames before it."""
        time, around = q.shape[2], (self.left, self.right)
        k, v = (nn.functional.pad(y, (0, 0, *around)) for y in (k, v))
        padding = nn.functional.pad(padding, around, value=True)
        blocks = []
        for begin in range(0, time, BLOCK):
            queries = q[:, :, begin : begin + BLOCK]
            size = queries.shape[2]
            keys = slice(begin, begin + size + self.left + self.right)
            position = shift_to_band(torch.matmul(queries + self.pos_bias_v[:, None], p.transpose(2, 3)))
            row, column = torch.arange(size, device=q.device)[:, None], torch.arange(position.shape[3], device=q.device)
            outside = (column < row) | (column > row + self.left + self.right)
            masked = outside | padding[:, None, None, keys]
            blocks.append(self._attend(queries, k[:, :, keys], v[:, :, keys], position, masked))
        return torch.cat(blocks, 2)
