"""TDT and RNN-T losses: minus the log of the total probability of all alignments of the targets.

    nll = -log sum over paths exp sum over arcs (log P_T(token or blank | t, u) - sigma + log P_D(d | t, u))

The paths are those of the training lattice (hainan_k2.fsa.losses.lattice). P_T and P_D are two separate softmaxes, over
the V token and the D duration channels of the joint (TDT, arXiv 2304.06795, sections 3 and 4; HAINAN, arXiv 2410.02597,
trains with the same loss). Blank is token 0, logarithms are natural. The forward pass computes the arc posteriors, from
which the backward pass makes the gradient.

    >>> logits = torch.zeros(1, 3, 2, 4 + 3, requires_grad=True)  # (B, T, U + 1, V + D)
    >>> lens = torch.tensor([3]), torch.tensor([1])
    >>> tdt_loss(logits, torch.tensor([[1]]), *lens, durations=(0, 1, 2)).backward()
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hainan_k2.fsa import checks
from hainan_k2.fsa.losses.backends import find_backend
from hainan_k2.fsa.losses.lattice import TrainingLattice, arc_steps, band_positions, training_lattice
from hainan_k2.fsa.losses.logprobs import JointLogits, accumulation_dtype
from hainan_k2.fsa.losses.options import LossOptions


def tdt_loss(
    logits: Tensor,
    targets: Tensor,
    frame_lens: Tensor,
    target_lens: Tensor,
    durations: Sequence[int],
    *,
    options: LossOptions | None = None,
    **overrides: Any,
) -> Tensor:
    """The TDT loss over the full lattice.

    Memory: the logits, their gradient, and B * T * U * D numbers more. Padding has no influence and gets gradient 0.
    Where no path emits all labels, the loss is inf and the gradient 0.

    Args:
      logits: (B, T, U + 1, V + D) raw joint outputs; float16 and bfloat16 are summed in float32.
      targets: (B, U) labels, 1 ... V - 1; values beyond `target_lens` are ignored.
      frame_lens: (B,) numbers of frames, at most T.
      target_lens: (B,) numbers of labels, at most U.
      durations: the D durations in frames, ascending; channel V + i is the logit of durations[i].
      options, overrides: see `LossOptions`; e.g. sigma=0.05, reduction="sum".

    Returns:
      The loss in nats, float32 (float64 for float64 logits); (B,) with reduction="none", otherwise a scalar.

    Raises:
      ValueError: for shapes, lengths, labels, durations or option values that do not fit.
      TypeError: for an unknown option.
    """
    options = LossOptions.merged(options, overrides)
    return _joint_loss(logits, targets, None, frame_lens, target_lens, durations, False, options)


def tdt_loss_pruned(
    logits: Tensor,
    targets: Tensor,
    bounds: Tensor,
    frame_lens: Tensor,
    target_lens: Tensor,
    durations: Sequence[int],
    *,
    options: LossOptions | None = None,
    **overrides: Any,
) -> Tensor:
    """The TDT loss over the paths inside a band of S label positions per frame. It is never below the full loss.

    Args:
      logits: (B, T, S, V + D) raw joint outputs; position s of frame t follows bounds[b, t] + s labels.
      bounds: (B, T) from `tdt_prune_bounds`: they start at 0, never fall, and are at most max(0, U + 1 - S).
      Other arguments, result and errors: as for `tdt_loss`, which this equals if S >= U + 1.

    >>> _, occupancy = tdt_loss_simple(am, lm, targets, frame_lens, target_lens, durations)
    >>> bounds = tdt_prune_bounds(occupancy, frame_lens, target_lens, durations, band=5)
    >>> joint = am.unsqueeze(2) + tdt_prune(lm, bounds, band=5)  # (B, T, 5, V + D); a model has a network here
    >>> loss = tdt_loss_pruned(joint, targets, bounds, frame_lens, target_lens, durations, sigma=0.05)
    """
    options = LossOptions.merged(options, overrides)
    return _joint_loss(logits, targets, bounds, frame_lens, target_lens, durations, False, options)


def rnnt_loss(
    logits: Tensor,
    targets: Tensor,
    frame_lens: Tensor,
    target_lens: Tensor,
    durations: Sequence[int] = (),
    *,
    bounds: Tensor | None = None,
    options: LossOptions | None = None,
    **overrides: Any,
) -> Tensor:
    """The RNN-T loss (arXiv 1211.3711) of the token channels: of an RNN-T, or in place of the TDT loss (omega).

    Args:
      logits: (B, T, U + 1, V + D), or (B, T, S, V + D) with bounds.
      durations: the joint's durations; their D channels are ignored and get gradient 0. Empty: an RNN-T's joint,
        which has none.
      bounds: (B, T) first label positions of the bands, as for `tdt_loss_pruned`. RNN-T blanks advance one frame, so
        bounds must rise by less than S per frame; those of `rnnt_prune_bounds` do.
      Other arguments, result and errors: as for `tdt_loss`.
    """
    options = LossOptions.merged(options, overrides)
    return _joint_loss(logits, targets, bounds, frame_lens, target_lens, durations, True, options)


def _joint_loss(
    logits: Tensor,
    targets: Tensor,
    bounds: Tensor | None,
    frame_lens: Tensor,
    target_lens: Tensor,
    durations: Sequence[int],
    rnnt: bool,
    options: LossOptions,
) -> Tensor:
    """The loss of the lattice inside `bounds`, or of the full lattice where `bounds` is None."""
    durations = () if rnnt and not durations else checks.check_durations(durations)
    dims = "(B, T, U + 1, V + D)" if bounds is None else "(B, T, S, V + D)"
    vocab_size = checks.check_logits("logits", logits, dims, len(durations))
    batch, num_frames, band, _ = logits.shape
    num_labels = band - 1 if bounds is None else None
    frame_lens, target_lens, targets = checks.check_batch(
        targets, frame_lens, target_lens, vocab_size, batch, num_frames, num_labels
    )
    targets = targets.to(logits.device)
    labels = torch.nn.functional.pad(targets, (0, 1))  # no label follows the last one
    if bounds is None:
        labels = labels.unsqueeze(1).expand(-1, num_frames, -1)
    else:
        bounds = checks.check_bounds(bounds, frame_lens, target_lens, num_frames, band).to(logits.device)
        position = band_positions(bounds, band, targets.size(1))
        labels = labels.gather(1, position.flatten(1)).view(position.shape)
    blank_steps, token_steps = arc_steps(() if rnnt else durations)
    lattice = training_lattice(
        frame_lens, target_lens, blank_steps, token_steps, num_frames, band, bounds, logits.device
    )
    nll = _LatticeLoss.apply(logits, labels, vocab_size, () if rnnt else durations, lattice, options)
    return options.reduce(nll, target_lens, accumulation_dtype(logits.dtype))


class _LatticeLoss(torch.autograd.Function):
    """(B,) negative log-totals of raw logits. Keeps B * T * S * (D + 3) numbers for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        labels: Tensor,
        vocab_size: int,
        durations: tuple[int, ...],
        lattice: TrainingLattice,
        options: LossOptions,
    ) -> Tensor:
        ctx.layout = vocab_size, len(durations), lattice.frame_lens, lattice.widths
        ctx.clamp = options.clamp
        blank, label, duration, normaliser = JointLogits(logits, labels, *ctx.layout).log_probs()
        blank, label = blank.double() - options.sigma, label.double() - options.sigma
        if options.zero_penalty and durations[:1] == (0,):
            duration[..., 0] -= options.zero_penalty
        forward_backward = find_backend(options.backend, logits.device)
        total, occupancies = forward_backward(lattice, blank, label, duration, ctx.needs_input_grad[0])
        if occupancies is not None:
            blank, label, duration = (_round_to_zero(-x.to(normaliser.dtype)) for x in occupancies)
            label *= 1.0 + options.fastemit_lambda
            ctx.save_for_backward(logits, labels, blank, label, duration, normaliser)
        return -total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        logits, labels, blank, label, duration, normaliser = ctx.saved_tensors
        joint = JointLogits(logits, labels, *ctx.layout)
        gradient = joint.gradient(blank, label, duration, normaliser, scale.to(blank.dtype), ctx.clamp)
        return gradient, None, None, None, None, None


def _round_to_zero(occupancies: Tensor) -> Tensor:
    """Occupancies with 0 in place of those whose product with a probability may be a denormal number.

    Most states of a full lattice have such tiny occupancies. CPUs compute with denormal numbers ten times more slowly,
    and the backward pass of the joint network would then take longer than everything else.
    """
    return torch.nn.functional.hardshrink(occupancies, torch.finfo(occupancies.dtype).tiny ** 0.5)
