"""Whisper's audio encoder (arXiv 2212.04356, section 2.2), with FastConformer layers on top.

    log-mel (10 ms) -- 2 convolutions --> 20 ms -- transformer layers --> states -- stack 4 --> 80 ms -- FastConformer

Whisper encodes windows of 30 s, padded with silence. Here the encoder runs on the true length of an utterance, which
takes a tenth of the time for a sentence. Its weights are fine-tuned, or frozen with their states stored on disk.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hainan_k2.config import ModelConfig
from hainan_k2.model.attention import dot_product_attention, relative_positions
from hainan_k2.model.encoder import ConformerLayer, check_features

STACK = 4  # states of 20 ms per encoder frame of 80 ms
MEL_BINS = 80


def sinusoids(length: int, channels: int, device: torch.device) -> Tensor:
    """Whisper's absolute positions (length, channels), float32: sines, then cosines, wavelengths 2 pi to 20000 pi."""
    half = torch.arange(channels // 2, device=device, dtype=torch.float32)
    inverse = torch.exp(half * (-torch.log(torch.tensor(10000.0)).item() / (channels // 2 - 1)))
    angles = torch.arange(length, device=device, dtype=torch.float32)[:, None] * inverse
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class TransformerLayer(nn.Module):
    """Self-attention and feed-forward, each a residual branch with a layer norm."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"whisper_dim {width} is not a multiple of whisper_heads {num_heads}")
        self.num_heads = num_heads
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_feed_forward = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, 4 * width)
        self.linear2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        """x (B, T, W), padding (B, T) True where there is no state -> (B, T, W)."""
        x = x + self.attend(self.norm_attention(x), padding)
        return x + self.linear2(gelu(self.linear1(self.norm_feed_forward(x))))

    def attend(self, x: Tensor, padding: Tensor) -> Tensor:
        """Self-attention over the states of each utterance; arguments as for `forward`."""
        batch, time, width = x.shape
        q, k, v = self.qkv(x).view(batch, time, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        y = dot_product_attention(q, k, v, padding)
        return self.out(y.transpose(1, 2).reshape(batch, time, width))


class WhisperEncoder(nn.Module):
    """Log-mel features, one per 10 ms, to states, one per 20 ms. The default sizes are those of Whisper tiny."""

    def __init__(self, width: int = 384, num_layers: int = 4, num_heads: int = 6) -> None:
        super().__init__()
        self.width = width
        self.conv1 = nn.Conv1d(MEL_BINS, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(TransformerLayer(width, num_heads) for _ in range(num_layers))
        self.norm_out = nn.LayerNorm(width)

    def forward(self, features: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, T, 80) from hainan_k2.frontend.log_mel, lens (B,) -> states (B, ceil(T / 2), W), their lens."""
        x = gelu(self.conv1(_zero_padding(features, lens).transpose(1, 2)))
        x = _zero_padding(x.transpose(1, 2), lens).transpose(1, 2)
        x = gelu(self.conv2(x)).transpose(1, 2)
        lens = torch.div(lens + 1, 2, rounding_mode="floor")
        x = x + sinusoids(x.shape[1], self.width, x.device)  # float32, also under autocast
        padding = torch.arange(x.shape[1], device=x.device) >= lens[:, None]
        for layer in self.layers:
            x = layer(x, padding)
        return self.norm_out(x), lens


def gelu(x: Tensor) -> Tensor:
    """GELU, with a gradient that is right on the CPU in torch 1.13 too.

    There its backward pass reads memory that was never written where the gradient is a transposed tensor, as it is
    between convolutions.
    """
    y = nn.functional.gelu(x)
    if y.requires_grad:
        y.register_hook(torch.Tensor.contiguous)
    return y


def _zero_padding(x: Tensor, lens: Tensor) -> Tensor:
    """x (B, T, C) with zeros beyond each length, as convolutions pad their input."""
    return x.masked_fill((torch.arange(x.shape[1], device=x.device) >= lens[:, None])[..., None], 0.0)


class WhisperConformer(nn.Module):
    """A WhisperEncoder, a projection of its states stacked to 80 ms, and `num_layers` FastConformer layers."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.num_mel_bins != MEL_BINS:
            raise ValueError(f"num_mel_bins is {config.num_mel_bins}: the Whisper encoder takes {MEL_BINS}")
        self.d_model, self.context = config.d_model, config.attention_context
        self.whisper = WhisperEncoder(config.whisper_dim, config.whisper_layers, config.whisper_heads)
        self.project = nn.Linear(STACK * config.whisper_dim, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(ConformerLayer(config) for _ in range(config.num_layers))

    def forward(self, features: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a padded batch. Values beyond an utterance's length have no influence on its frames.

        Args:
          features: (B, T, 80) log-mel, 10 ms frames; or (B, T, W) stored states of `whisper`, 20 ms frames.
          lens: (B,) int64, number of frames or states of every utterance.
        Returns:
          Encoder output (B, T', d_model), 80 ms frames; and its lengths (B,).
        Raises:
          ValueError: for a length outside [1, T].
        """
        check_features(features, lens)
        if features.shape[2] == self.whisper.width:
            states = features
        else:
            frozen = not self.whisper.conv1.weight.requires_grad
            with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
                states, lens = self.whisper(features, lens)
        states = nn.functional.pad(_zero_padding(states, lens), (0, 0, 0, -states.shape[1] % STACK))
        x = self.dropout(self.project(states.reshape(states.shape[0], -1, STACK * states.shape[2])).to(states.dtype))
        lens = torch.div(lens + STACK - 1, STACK, rounding_mode="floor")
        padding = torch.arange(x.shape[1], device=x.device) >= lens[:, None]
        positions = relative_positions(x.shape[1], self.d_model, x, self.context)
        for layer in self.layers:
            x = layer(x, positions, padding)
        return x, lens
