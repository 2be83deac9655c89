"""CTC losses of the encoder's output and, as intermediate CTC, of its middle layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hainan_k2.config import BLANK
from hainan_k2.model.hainan import Hainan


def ctc_losses(model: Hainan, encoder_out: Tensor, lens: Tensor, targets: Tensor, target_lens: Tensor) -> Tensor:
    """CTC losses of each utterance (B,), in nats; inf, without a gradient, where the frames are too few for the labels.

    Args:
      encoder_out, lens: (B, T, C) and (B,), in encoder frames.
      targets, target_lens: (B, U), padded with any token but blank, and (B,).
    """
    log_probs = model.ctc_log_probs(encoder_out).transpose(0, 1).float()
    losses = torch.nn.functional.ctc_loss(
        log_probs, targets, lens, target_lens, blank=BLANK, reduction="none", zero_infinity=True
    )
    same = targets[:, 1:] == targets[:, :-1]
    inside = 1 + torch.arange(same.shape[1], device=lens.device) < target_lens[:, None]
    repeats = (same & inside).sum(1)  # CTC needs a blank between equal labels
    return losses.masked_fill(lens < target_lens + repeats, float("inf"))


@contextmanager
def middle_output(model: Hainan, wanted: bool) -> Iterator[list[Tensor]]:
    """Keeps the output (B, T, C) of a layer while the encoder runs: that of its middle FastConformer layer, L // 2 of
    1 ... L (arXiv 2102.03216). The list stays empty where it is not `wanted`."""
    kept: list[Tensor] = []
    if not wanted:
        yield kept
        return

    def keep(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        kept[:] = [output]

    layers = model.encoder.layers
    handle = layers[len(layers) // 2 - 1].register_forward_hook(keep)
    try:
        yield kept
    finally:
        handle.remove()
