"""The simple TDT loss: an additive joint, whose TDT occupancies tell where the real joint is worth computing.

    logits(t, u) = am(t) + lm(u)      for the V token and the D duration channels, normalised apart

Its normalisers need no (B, T, U + 1, V) tensor: sum_v exp(am_v + lm_v) is one matrix product of exponentials
(pruned RNN-T, arXiv 2206.13236, section 3.1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hainan_k2.fsa import checks
from hainan_k2.fsa.losses.lattice import training_lattice
from hainan_k2.fsa.losses.logprobs import accumulation_dtype
from hainan_k2.fsa.losses.tdt import LossOptions, find_backend


def _normaliser(am: Tensor, lm: Tensor) -> Tensor:
    """log sum_v exp(am[b, t, v] + lm[b, u, v]): (B, T, U + 1) from (B, T, V) and (B, U + 1, V), float64.

    The largest am and the largest lm are taken out before the exponentials. The rest is exact in float64 if
    some channel's am + lm comes within 690 nats of the two together.
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
      num_durations: D.
    """
    (am, am_steps), (lm, lm_steps) = (x.split([x.size(-1) - num_durations, num_durations], -1) for x in (am, lm))
    blanks_and_labels = torch.nn.functional.pad(targets, (1, 1))  # (B, U + 2): blank, labels, none
    am_scores = am.gather(2, blanks_and_labels.unsqueeze(1).expand(-1, am.size(1), -1))
    lm_scores = lm.gather(2, blanks_and_labels[:, 1:].unsqueeze(2)).transpose(1, 2)
    normaliser = _normaliser(am, lm)
    blank = am_scores[..., :1] + lm[..., 0].unsqueeze(1) - normaliser
    token = am_scores[..., 1:] + lm_scores - normaliser
    normaliser = _normaliser(am_steps, lm_steps)
    am_steps, lm_steps = am_steps.permute(2, 0, 1), lm_steps.permute(2, 0, 1)  # D first: one after the other
    duration = (am_steps.unsqueeze(3) + lm_steps.unsqueeze(2) - normaliser).permute(1, 2, 3, 0)
    return blank, token, duration


def _without_padding(x: Tensor, lens: Tensor) -> Tensor:
    """A float64 copy of x (B, N, C), 0 beyond lens (B,), whatever was there."""
    padding = torch.arange(x.size(1), device=x.device) >= lens.to(x.device).unsqueeze(1)
    return x.detach().to(torch.float64, copy=True).masked_fill_(padding.unsqueeze(-1), 0.0)


class _SimpleLoss(torch.autograd.Function):
    """(B,) negative log-totals by am and lm, and the occupancy (B, T, U + 1) of the states.

    The gradients are ready when the loss is: nothing of size (B, T, U, D) lives on until the backward pass.
    """

    @staticmethod
    def forward(ctx, am, lm, targets, lattice, num_durations, options):
        wanted = any(ctx.needs_input_grad)
        lens = lattice.frame_lens, lattice.target_lens + 1
        with torch.enable_grad():
            inputs = [_without_padding(x, n).requires_grad_(wanted) for x, n in zip((am, lm), lens)]
            log_probs = additive_log_probs(*inputs, targets, num_durations)
        blank, token, duration = (x.detach() for x in log_probs)
        forward_backward = find_backend(options.backend, am.device)
        total, occupancies = forward_backward(lattice, blank - options.sigma, token - options.sigma, duration)
        blank, token, duration = occupancies
        occupancy = (blank + token).float()
        ctx.mark_non_differentiable(occupancy)
        if wanted:
            occupancies = blank.neg_(), token.mul_(-1.0 - options.fastemit_lambda), duration.neg_()
            gradients = torch.autograd.grad(log_probs, inputs, occupancies)
            ctx.save_for_backward(*(g.to(x.dtype) for g, x in zip(gradients, (am, lm))))
        return -total, occupancy

    @staticmethod
    @once_differentiable
    def backward(ctx, scale, _):
        am, lm = (g * scale.to(g.dtype).view(-1, 1, 1) for g in ctx.saved_tensors)
        return am, lm, None, None, None, None


def tdt_loss_simple(
    am: Tensor,
    lm: Tensor,
    targets: Tensor,
    frame_lens: Tensor,
    target_lens: Tensor,
    durations: Sequence[int],
    sigma: float = 0.0,
    reduction: str = "mean",
    backend: str = "auto",
    fastemit_lambda: float = 0.0,
    zero_infinity: bool = False,
    return_occupancy: bool = True,
) -> Tensor | tuple[Tensor, Tensor]:
    """The TDT loss of the additive joint am + lm over the full lattice.

    Args:
      am: (B, T, V + D), a linear function of the encoder output.
      lm: (B, U + 1, V + D), a linear function of the predictor output.
      targets, frame_lens, target_lens, durations, sigma, reduction, fastemit_lambda, zero_infinity: as of
        `hainan_k2.fsa.losses.tdt.tdt_loss`.
      backend: as of `tdt_loss`, but "auto" means torch on a CPU, where it is the quicker one.
      return_occupancy: whether to return the second result too.

    Returns:
      The loss in nats, and the occupancy (B, T, U + 1) float32: the probability that a path, given the audio
      and the text, comes through state (t, u); no gradient; 0 at padding. Frames that a long duration jumps
      over add up to less than 1.

    Raises:
      ValueError: as `tdt_loss`.
    """
    if backend == "auto" and am.device.type == "cpu":
        backend = "torch"
    options = LossOptions(sigma, reduction, backend, fastemit_lambda, 0.0, zero_infinity)
    durations = checks.check_durations(durations)
    vocab_size = checks.check_logits("am", am, "(B, T, V + D)", len(durations))
    checks.check_logits("lm", lm, "(B, U + 1, V + D)", len(durations))
    if lm.size(0) != am.size(0) or lm.size(2) != am.size(2):
        raise ValueError(f"am {tuple(am.shape)} and lm {tuple(lm.shape)} differ in B or V + D")
    (batch, num_frames, _), band, device = am.shape, lm.size(1), am.device
    frame_lens, target_lens, targets = checks.check_batch(
        targets, frame_lens, target_lens, vocab_size, batch, num_frames, band - 1
    )
    lattice = training_lattice(
        frame_lens, target_lens, [d for d in durations if d > 0], durations, num_frames, band, None, device
    )
    with torch.autocast(device.type, enabled=False):
        nll, occupancy = _SimpleLoss.apply(am, lm, targets.to(device), lattice, len(durations), options)
    loss = options.reduce(nll, target_lens, accumulation_dtype(am.dtype))
    return (loss, occupancy) if return_occupancy else loss
