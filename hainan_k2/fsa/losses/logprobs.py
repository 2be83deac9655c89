"""From raw joint logits to the log-probabilities of a lattice's arcs, and from their gradients back to the logits'.

Out of the V + D logits of a state, the lattice needs D + 2 numbers: log P_T(blank), log P_T(next label) and log P_D(d),
from two separate softmaxes (arXiv 2304.06795, section 3). Both passes read the logits block by block and skip padding,
so they need little memory: the forward pass stores each state's normaliser instead of its softmax, and the backward
pass computes the softmax again, inside the gradient's own memory. float16 and bfloat16 logits are summed in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_BLOCK = {"cpu": 1 << 19, "cuda": 1 << 26}  # numbers per block: fits a CPU's cache, keeps a GPU busy


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


@dataclass(frozen=True)
class JointLogits:
    """Raw logits, and which of their log-probabilities the lattice uses.

    Args:
      logits: (B, T, S, C): V token channels, blank first, then D duration channels; further channels are ignored.
      labels: (B, T, S) int64: the next label in each state; any token where there is none.
      vocab_size, num_durations: V and D; D may be 0.
      frame_lens, widths: (B,) on the CPU; frames and label positions beyond them are padding.
    """

    logits: Tensor
    labels: Tensor
    vocab_size: int
    num_durations: int
    frame_lens: Tensor
    widths: Tensor

    def _blocks(self) -> Iterator[tuple[int, slice, slice]]:
        """Blocks (b, frames, label positions) that together cover all states except padding."""
        limit = _BLOCK.get(self.logits.device.type, _BLOCK["cuda"])
        for b, (frames, width) in enumerate(zip(self.frame_lens.tolist(), self.widths.tolist())):
            size = max(1, limit // (width * self.logits.size(-1)))
            for t in range(0, frames, size):
                yield b, slice(t, min(t + size, frames)), slice(width)

    @property
    def _heads(self) -> tuple[slice, slice]:
        return slice(self.vocab_size), slice(self.vocab_size, self.vocab_size + self.num_durations)

    def log_probs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Log-probabilities of blank (B, T, S), next label (B, T, S), durations (B, T, S, D); normalisers (B, T, S).

        The normalisers are those of the token softmax. All are float32 (float64 for float64 logits), 0 at padding, and
        detached from autograd: `gradient` is the backward pass.
        """
        dtype, (tokens, durations) = accumulation_dtype(self.logits.dtype), self._heads
        normaliser = self.logits.new_zeros(self.logits.shape[:-1], dtype=dtype)
        blank, label = torch.zeros_like(normaliser), torch.zeros_like(normaliser)
        duration = normaliser.new_zeros(*normaliser.shape, self.num_durations)
        for block in self._blocks():
            x = self.logits[block].to(dtype)
            normaliser[block] = total = x[..., tokens].logsumexp(-1)
            blank[block] = x[..., 0] - total
            label[block] = x.gather(-1, self.labels[block].unsqueeze(-1)).squeeze(-1) - total
            duration[block] = x[..., durations].log_softmax(-1)
        return blank, label, duration, normaliser

    def gradient(
        self,
        blank: Tensor,
        label: Tensor,
        duration: Tensor,
        normaliser: Tensor,
        scale: Tensor,
        clamp: float = 0.0,
    ) -> Tensor:
        """The gradient with respect to the logits: (B, T, S, C) in their dtype, 0 at padding.

        Args:
          blank, label, duration: gradients with respect to the log-probabilities that `log_probs` returned.
          normaliser: as `log_probs` returned it.
          scale: (B,) factor of each utterance's gradient.
          clamp: if positive, limits the gradient of the token channels to [-clamp, clamp] before it is scaled.
        """
        tokens, durations = self._heads
        result = torch.zeros_like(self.logits, memory_format=torch.contiguous_format)
        for block in self._blocks():
            s = scale[block[0]]
            x = self.logits[block].to(blank.dtype)
            g = result[block] if result.dtype == x.dtype else torch.zeros_like(x)
            head = g[..., tokens]
            torch.sub(x[..., tokens], normaliser[block].unsqueeze(-1), out=head)
            head.exp_().mul_((blank[block] + label[block]).mul_(-s).unsqueeze(-1))
            head[..., 0] += blank[block] * s
            head.scatter_add_(-1, self.labels[block].unsqueeze(-1), (label[block] * s).unsqueeze(-1))
            if clamp > 0.0:
                torch.minimum(torch.maximum(head, -clamp * s.abs()), clamp * s.abs(), out=head)
            scaled = duration[block] * s
            g[..., durations] = scaled - x[..., durations].softmax(-1) * scaled.sum(-1, keepdim=True)
            if g.dtype != result.dtype:
                result[block] = g
        return result
