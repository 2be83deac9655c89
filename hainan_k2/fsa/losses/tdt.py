"""Transducer losses: minus the log of the sum over all paths that spell the targets (see lattice.py).

    nll = -log sum_paths exp sum_arcs (log P_T(token or blank | t, u) - sigma + log P_D(d | t, u))

P_T and P_D are two separate softmaxes, over the V token and the D duration channels of the joint (TDT, arXiv
2304.06795, sections 3 and 4; HAINAN, arXiv 2410.02597, trains with the same loss). Blank is token 0,
logarithms are natural. Gradients come from arc posteriors, found when the loss is computed.

    >>> logits = torch.zeros(1, 3, 2, 4 + 3, requires_grad=True)  # (B, T, U + 1, V + D)
    >>> lens = torch.tensor([3]), torch.tensor([1])
    >>> tdt_loss(logits, torch.tensor([[1]]), *lens, durations=(0, 1, 2)).backward()
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Callable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hainan_k2.fsa import checks
from hainan_k2.fsa.k2 import load_k2, why_no_k2
from hainan_k2.fsa.losses import backend_k2, backend_torch
from hainan_k2.fsa.losses.lattice import band_positions, training_lattice
from hainan_k2.fsa.losses.logprobs import JointLogits, accumulation_dtype

BACKENDS = {"k2": backend_k2.forward_backward, "torch": backend_torch.forward_backward}
logger = logging.getLogger(__name__)

REDUCTIONS = ("none", "sum", "mean", "mean_volume")


@dataclass(frozen=True)
class LossOptions:
    """What the losses have in common; see `tdt_loss`."""

    sigma: float = 0.0
    reduction: str = "mean"
    backend: str = "auto"
    fastemit_lambda: float = 0.0
    clamp: float = 0.0
    zero_infinity: bool = False

    def __post_init__(self):
        checks.check_option("reduction", self.reduction, REDUCTIONS)
        checks.check_option("backend", self.backend, ("auto", *BACKENDS))
        checks.check_not_negative(sigma=self.sigma, fastemit_lambda=self.fastemit_lambda, clamp=self.clamp)

    def reduce(self, nll: Tensor, target_lens: Tensor, dtype: torch.dtype) -> Tensor:
        """(B,) losses as asked for, in `dtype`."""
        if self.zero_infinity:
            impossible = nll.isposinf()
            count = int(impossible.sum())
            if count:
                logging.warning("loss 0 for %d of %d utterances: no path spells them", count, nll.numel())
                nll = nll.masked_fill(impossible, 0.0)
        if self.reduction == "sum":
            nll = nll.sum()
        elif self.reduction == "mean":
            nll = nll.mean()
        elif self.reduction == "mean_volume":
            nll = nll.sum() / max(1, int(target_lens.sum()))
        return nll.to(dtype)


def find_backend(name: str, device: torch.device) -> Callable:
    """The forward-backward of that name; "auto" means k2 where it works on the device, else torch and one warning."""
    if name != "torch":
        why = why_no_k2()
        if not why and device.type != "cpu" and not (device.type == "cuda" and load_k2().with_cuda):
            why = f"k2 is not built for {device.type}"
        if why and name == "k2":
            raise ValueError(f"backend='k2': {why}; backend='torch' does without")
        if why:
            _warn_once(why)
        name = "torch" if why else "k2"
    return BACKENDS[name]


@functools.cache
def _warn_once(why: str) -> None:
    logger.warning("the losses take backend='torch': %s", why)


def _round_to_zero(occupancies: Tensor) -> Tensor:
    """Occupancies whose share of a gradient may not be a normal number become 0.

    Most states of a full lattice are like that, and CPUs take ten times as long over denormal numbers: the
    backward pass of the joint network would then cost more than all the rest.
    """
    return torch.nn.functional.hardshrink(occupancies, torch.finfo(occupancies.dtype).tiny ** 0.5)


class _LatticeLoss(torch.autograd.Function):
    """(B,) negative log-totals by raw logits; besides, (B, T, S, D + 3) numbers are kept for backward."""

    @staticmethod
    def forward(ctx, logits, labels, vocab_size, num_durations, lattice, options):
        ctx.layout = vocab_size, num_durations, lattice.frame_lens, lattice.widths
        ctx.clamp = options.clamp
        blank, label, duration, normaliser = JointLogits(logits, labels, *ctx.layout).log_probs()
        blank, label = blank.double() - options.sigma, label.double() - options.sigma
        forward_backward = find_backend(options.backend, logits.device)
        total, occupancies = forward_backward(lattice, blank, label, duration, ctx.needs_input_grad[0])
        if occupancies is not None:
            blank, label, duration = (_round_to_zero(-x.to(normaliser.dtype)) for x in occupancies)
            label *= 1.0 + options.fastemit_lambda
            ctx.save_for_backward(logits, labels, blank, label, duration, normaliser)
        return -total

    @staticmethod
    @once_differentiable
    def backward(ctx, scale):
        logits, labels, *rest = ctx.saved_tensors
        joint = JointLogits(logits, labels, *ctx.layout)
        return joint.gradient(*rest, scale.to(rest[0].dtype), ctx.clamp), None, None, None, None, None


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
    """The losses below: of the full lattice where `bounds` is None, of RNN-T where `rnnt`."""
    durations = () if rnnt and not durations else checks.check_durations(durations)
    dims = "(B, T, U + 1, V + D)" if bounds is None else "(B, T, S, V + D)"
    vocab_size = checks.check_logits("logits", logits, dims, len(durations))
    batch, num_frames, band, _ = logits.shape
    num_labels = band - 1 if bounds is None else None
    frame_lens, target_lens, targets = checks.check_batch(
        targets, frame_lens, target_lens, vocab_size, batch, num_frames, num_labels
    )
    targets = targets.to(logits.device)
    labels = torch.nn.functional.pad(targets, (0, 1))  # after the last label comes none
    if bounds is None:
        labels = labels.unsqueeze(1).expand(-1, num_frames, -1)
    else:
        bounds = checks.check_bounds(bounds, frame_lens, target_lens, num_frames, band).to(logits.device)
        position = band_positions(bounds, band, targets.size(1))
        labels = labels.gather(1, position.flatten(1)).view(position.shape)
    blank_steps, token_steps = ((1,), (0,)) if rnnt else ([d for d in durations if d > 0], durations)
    lattice = training_lattice(
        frame_lens, target_lens, blank_steps, token_steps, num_frames, band, bounds, logits.device
    )
    num_durations = 0 if rnnt else len(durations)
    nll = _LatticeLoss.apply(logits, labels, vocab_size, num_durations, lattice, options)
    return options.reduce(nll, target_lens, accumulation_dtype(logits.dtype))


def tdt_loss(
    logits: Tensor,
    targets: Tensor,
    frame_lens: Tensor,
    target_lens: Tensor,
    durations: Sequence[int],
    sigma: float = 0.0,
    reduction: str = "mean",
    backend: str = "auto",
    fastemit_lambda: float = 0.0,
    clamp: float = 0.0,
    zero_infinity: bool = False,
) -> Tensor:
    """The TDT loss over the full lattice.

    Memory: the logits, their gradient, and numbers in proportion to B * T * U * D. Padding takes no part:
    gradients are 0 there. Where no path can spell the targets the loss is inf and the gradient 0.

    Args:
      logits: (B, T, U + 1, V + D) raw joint outputs; float16 and bfloat16 are summed in float32.
      targets: (B, U) labels, 1 ... V - 1; what stands beyond `target_lens` does not matter.
      frame_lens: (B,) numbers of frames, at most T.
      target_lens: (B,) numbers of labels, at most U.
      durations: the D durations in frames, ascending; channel V + i is the logit of durations[i].
      sigma: logit under-normalization: subtracted from every token log-probability; for training only.
      reduction: "none" (B,), "sum", "mean" over utterances, or "mean_volume": sum over all labels' number.
      backend: "k2", "torch", or "auto": k2 where it works on the device, else torch. Same values.
      fastemit_lambda: FastEmit (arXiv 2010.11148): the token logits' gradient takes emissions of labels
        (1 + lambda) times. The loss value and the duration logits' gradient stay.
      clamp: if positive, limits every token logit's gradient to [-clamp, clamp], that is the gradient of the
        utterance's own loss, before the reduction and whatever comes after it scale it.
      zero_infinity: make loss 0 of inf, and log a warning that says for how many utterances.

    Returns:
      The loss in nats, float32 (float64 for float64 logits).

    Raises:
      ValueError: for shapes, lengths, labels, durations or options that do not fit.
    """
    options = LossOptions(sigma, reduction, backend, fastemit_lambda, clamp, zero_infinity)
    return _joint_loss(logits, targets, None, frame_lens, target_lens, durations, False, options)


def tdt_loss_pruned(
    logits: Tensor,
    targets: Tensor,
    bounds: Tensor,
    frame_lens: Tensor,
    target_lens: Tensor,
    durations: Sequence[int],
    sigma: float = 0.0,
    reduction: str = "mean",
    backend: str = "auto",
    fastemit_lambda: float = 0.0,
    clamp: float = 0.0,
    zero_infinity: bool = False,
) -> Tensor:
    """The TDT loss over the paths within a band of S label positions per frame; never below the full loss.

    Args:
      logits: (B, T, S, V + D) raw joint outputs; position s of frame t is that after bounds[b, t] + s labels.
      bounds: (B, T) as made by `tdt_prune_bounds`: start at 0, never fall, at most max(0, U + 1 - S).
      Others, result and errors: as of `tdt_loss`, which it equals if S >= U + 1.
    """
    options = LossOptions(sigma, reduction, backend, fastemit_lambda, clamp, zero_infinity)
    return _joint_loss(logits, targets, bounds, frame_lens, target_lens, durations, False, options)


def rnnt_loss(
    logits: Tensor,
    targets: Tensor,
    frame_lens: Tensor,
    target_lens: Tensor,
    durations: Sequence[int] = (),
    sigma: float = 0.0,
    reduction: str = "mean",
    backend: str = "auto",
    fastemit_lambda: float = 0.0,
    clamp: float = 0.0,
    zero_infinity: bool = False,
    bounds: Tensor | None = None,
) -> Tensor:
    """The RNN-T loss (arXiv 1211.3711) of the token head: what replaces the TDT loss with probability omega.

    Args:
      logits: (B, T, U + 1, V + D), or (B, T, S, V + D) if there are bounds.
      durations: the joint's durations: the last D channels do not count, their gradient is 0.
      bounds: (B, T) if the logits are those of a band, as for `tdt_loss_pruned`. Blanks of one frame need
        bounds that rise by less than S per frame.
      Others, result and errors: as of `tdt_loss`.
    """
    options = LossOptions(sigma, reduction, backend, fastemit_lambda, clamp, zero_infinity)
    return _joint_loss(logits, targets, bounds, frame_lens, target_lens, durations, True, options)
