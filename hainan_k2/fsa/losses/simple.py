"""The simple TDT and RNN-T losses: an additive joint, whose occupancies tell where the full joint needs to be computed.

    logits(t, u) = am(t) + lm(u)      for the V token and the D duration channels, each normalised separately

An RNN-T has no duration channels.

Its normalisers need no (B, T, U + 1, V) tensor: sum_v exp(am_v + lm_v) is one matrix product of exponentials
(pruned RNN-T, arXiv 2206.13236, section 3.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hainan_k2.fsa import checks
from hainan_k2.fsa.losses.backends import find_backend
from hainan_k2.fsa.losses.lattice import TrainingLattice, arc_steps, training_lattice
from hainan_k2.fsa.losses.logprobs import accumulation_dtype
from hainan_k2.fsa.losses.options import LossOptions


def _normaliser(am: Tensor, lm: Tensor) -> Tensor:
    """log sum_v exp(am[b, t, v] + lm[b, u, v]): (B, T, U + 1) from (B, T, V) and (B, U + 1, V), float64.

    The maxima of am and of lm are subtracted before the exponentials. float64 does not underflow as long as some
    channel's am + lm is within 690 nats of the sum of both maxima.
    """
    am_max, lm_max = am.detach().amax(-1, keepdim=True), lm.detach().amax(-1, keepdim=True)
    product = torch.matmul((am - am_max).exp(), (lm - lm_max).exp().transpose(1, 2))
    return product.clamp(min=torch.finfo(product.dtype).tiny).log() + am_max + lm_max.transpose(1, 2)


def additive_log_probs(am: Tensor, lm: Tensor, targets: Tensor, num_durations: int) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities of the additive joint: blank, next label (B, T, U + 1), durations (B, T, U + 1, D).

    Args:
      am: (B, T, V + D) float64.
      lm: (B, U + 1, V + D) float64.
      targets: (B, U) int64 in 0 ... V - 1.
      num_durations: D; 0 for RNN-T.
    """
    (am, am_steps), (lm, lm_steps) = (x.split([x.size(-1) - num_durations, num_durations], -1) for x in (am, lm))
    blanks_and_labels = torch.nn.functional.pad(targets, (1, 1))  # (B, U + 2): blank, the labels, a filler
    am_scores = am.gather(2, blanks_and_labels.unsqueeze(1).expand(-1, am.size(1), -1))
    lm_scores = lm.gather(2, blanks_and_labels[:, 1:].unsqueeze(2)).transpose(1, 2)
    normaliser = _normaliser(am, lm)
    blank = am_scores[..., :1] + lm[..., 0].unsqueeze(1) - normaliser
    token = am_scores[..., 1:] + lm_scores - normaliser
    if not num_durations:
        return blank, token, token.new_zeros(*token.shape, 0)
    normaliser = _normaliser(am_steps, lm_steps)
    am_steps, lm_steps = am_steps.permute(2, 0, 1), lm_steps.permute(2, 0, 1)  # (D, B, T or U + 1)
    duration = (am_steps.unsqueeze(3) + lm_steps.unsqueeze(2) - normaliser).permute(1, 2, 3, 0)
    return blank, token, duration


def _without_padding(x: Tensor, lens: Tensor) -> Tensor:
    """A float64 copy of x (B, N, C) with zeros beyond lens (B,)."""
    padding = torch.arange(x.size(1), device=x.device) >= lens.to(x.device).unsqueeze(1)
    return x.detach().to(torch.float64, copy=True).masked_fill_(padding.unsqueeze(-1), 0.0)


class _SimpleLoss(torch.autograd.Function):
    """(B,) negative log-totals of am and lm, and the occupancies (B, T, U + 1) of the states.

    The gradients are computed in the forward pass, so that no tensor of size (B, T, U, D) is kept for backward.
    """

    @staticmethod
    def forward(
        ctx: Any,
        am: Tensor,
        lm: Tensor,
        targets: Tensor,
        lattice: TrainingLattice,
        num_durations: int,
        options: LossOptions,
    ) -> tuple[Tensor, Tensor]:
        wanted = any(ctx.needs_input_grad)
        lens = lattice.frame_lens, lattice.target_lens + 1
        with torch.enable_grad():
            inputs = [_without_padding(x, n).requires_grad_(wanted) for x, n in zip((am, lm), lens)]
            log_probs = additive_log_probs(inputs[0], inputs[1], targets, num_durations)
        blank, token, duration = (x.detach() for x in log_probs)
        forward_backward = find_backend(options.backend, am.device)
        total, occupancies = forward_backward(lattice, blank - options.sigma, token - options.sigma, duration)
        assert occupancies is not None
        blank, token, duration = occupancies
        occupancy = (blank + token).float()
        ctx.mark_non_differentiable(occupancy)
        if wanted:
            scaled = blank.neg_(), token.mul_(-1.0 - options.fastemit_lambda), duration.neg_()
            heads = 3 if num_durations else 2
            gradients = torch.autograd.grad(log_probs[:heads], inputs, scaled[:heads])
            ctx.save_for_backward(*(g.to(x.dtype) for g, x in zip(gradients, (am, lm))))
        return -total, occupancy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        am, lm = (g * scale.to(g.dtype).view(-1, 1, 1) for g in ctx.saved_tensors)
        return am, lm, None, None, None, None


def tdt_loss_simple(
    am: Tensor,
    lm: Tensor,
    targets: Tensor,
    frame_lens: Tensor,
    target_lens: Tensor,
    durations: Sequence[int],
    *,
    options: LossOptions | None = None,
    **overrides: Any,
) -> tuple[Tensor, Tensor]:
    """The TDT loss of the additive joint am + lm over the full lattice, and the occupancies of its states.

    Args:
      am: (B, T, V + D), a linear function of the encoder output.
      lm: (B, U + 1, V + D), a linear function of the predictor output.
      targets, frame_lens, target_lens, durations: as for `tdt_loss`.
      options, overrides: see `LossOptions`; `clamp` is not supported, and backend="auto" is torch on a CPU, where it is
        faster than k2.

    Returns:
      The loss in nats, and the occupancies (B, T, U + 1) float32: the probability that an alignment of the targets
      passes through state (t, u); 0 at padding, without gradient. A frame's occupancies sum to less than 1 where long
      durations skip it.

    Raises:
      ValueError: as for `tdt_loss`, and for a clamp.

    >>> loss, occupancy = tdt_loss_simple(am, lm, targets, frame_lens, target_lens, durations=(0, 1, 2))
    """
    options = LossOptions.merged(options, overrides)
    return _additive_loss(am, lm, targets, frame_lens, target_lens, checks.check_durations(durations), options)


def rnnt_loss_simple(
    am: Tensor,
    lm: Tensor,
    targets: Tensor,
    frame_lens: Tensor,
    target_lens: Tensor,
    *,
    options: LossOptions | None = None,
    **overrides: Any,
) -> tuple[Tensor, Tensor]:
    """The RNN-T loss of the additive joint am + lm over the full lattice, and the occupancies of its states.

    Args:
      am: (B, T, V), a linear function of the encoder output.
      lm: (B, U + 1, V), a linear function of the predictor output.
      Other arguments, result and errors: as for `tdt_loss_simple`. A path comes through every frame, so that a frame's
      occupancies sum to at least 1.

    >>> loss, occupancy = rnnt_loss_simple(am, lm, targets, frame_lens, target_lens)
    """
    options = LossOptions.merged(options, overrides)
    return _additive_loss(am, lm, targets, frame_lens, target_lens, (), options)


def _additive_loss(
    am: Tensor,
    lm: Tensor,
    targets: Tensor,
    frame_lens: Tensor,
    target_lens: Tensor,
    durations: tuple[int, ...],
    options: LossOptions,
) -> tuple[Tensor, Tensor]:
    """Loss and occupancies of the additive joint; without durations those of RNN-T."""
    if options.clamp:
        raise ValueError(f"clamp is {options.clamp}: a simple loss has no joint logits whose gradient it could clamp")
    if options.backend == "auto" and am.device.type == "cpu":
        options = replace(options, backend="torch")
    channels = "V + D" if durations else "V"
    vocab_size = checks.check_logits("am", am, f"(B, T, {channels})", len(durations))
    checks.check_logits("lm", lm, f"(B, U + 1, {channels})", len(durations))
    if lm.size(0) != am.size(0) or lm.size(2) != am.size(2):
        raise ValueError(f"am {tuple(am.shape)} and lm {tuple(lm.shape)} differ in B or {channels}")
    (batch, num_frames, _), band, device = am.shape, lm.size(1), am.device
    frame_lens, target_lens, targets = checks.check_batch(
        targets, frame_lens, target_lens, vocab_size, batch, num_frames, band - 1
    )
    blank_steps, token_steps = arc_steps(durations)
    lattice = training_lattice(frame_lens, target_lens, blank_steps, token_steps, num_frames, band, None, device)
    with torch.autocast(device.type, enabled=False):
        nll, occupancy = _SimpleLoss.apply(am, lm, targets.to(device), lattice, len(durations), options)
    loss = options.reduce(nll, target_lens, accumulation_dtype(am.dtype))
    return loss, occupancy
