"""Which band of label positions a pruned lattice keeps on every frame; after pruned RNN-T, arXiv 2206.13236.

The bounds p[t], first label positions of the bands of S, satisfy

    p[0] = 0, p never falls                  the start state is in its band; time and labels only increase
    p <= E = max(0, U + 1 - S)               no band reaches beyond U
    p[t] = E where the last blank may start  U can be reached
    p[t + d] - p[t] <= S                     an arc of duration d can connect the two bands
    p[t + d] - p[t] <= d / d_min             if no duration is 0: bands rise no faster than labels can be emitted

RNN-T, whose only arc to another frame is a blank, has p[t + 1] - p[t] <= S - 1 for the fourth.

The last two hold for the shortest positive duration d, and for longer ones as long as this loses no mass. Where more
than S labels come in d frames, paths take no arc of duration d, and a band limited to S in d frames would lose them.
The minimum, the maximum and the rounded-down mean of two such p satisfy the conditions too; `_limit_jumps` relies on
it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hainan_k2.fsa import checks
from hainan_k2.fsa.losses.lattice import band_positions

_COST = 0.01  # mass that may be lost: states outside the band that a path visits on average; about as many nats


def _heaviest_bands(mass: Tensor) -> Tensor:
    """(B, T) non-decreasing positions p that maximise the sum over t of mass[b, t, p[t]], by a Viterbi pass.

    Args:
      mass: (B, T, P), -inf at positions that are not allowed.
    """
    value, came_from = mass[:, 0], []
    for t in range(1, mass.size(1)):
        best, index = value.cummax(1)
        came_from.append(index)
        value = best + mass[:, t]
    path = [value.argmax(1, keepdim=True)]
    for index in reversed(came_from):
        path.append(index.gather(1, path[-1]))
    return torch.cat(path[::-1], dim=1)


def _largest_rise(lag: Tensor, d: int, jump: int, slowest: int) -> Tensor:
    """The most that bounds may rise in `lag` frames: `jump` in d frames, 1 in `slowest` frames (0: no such limit)."""
    rest = lag % d
    last = ((rest + slowest - 1) // slowest).clamp(max=jump) if slowest > 0 else jump
    return lag // d * jump + last * (rest > 0)


def _limit_jumps(bounds: Tensor, lag: int, jump: int, end: Tensor) -> tuple[Tensor, Tensor]:
    """The largest bounds below and the smallest above `bounds` (B, T) that rise by at most `jump` in `lag` frames.

    Both equal `bounds` where those satisfy the limit already. Frames after `end` (B, 1) are ignored.
    """
    t = torch.arange(bounds.size(1)).expand_as(bounds)
    below, above = bounds, bounds
    while lag < bounds.size(1):  # lag, 2 lag, 4 lag ... cover all multiples in few steps
        below = torch.minimum(below, below.gather(1, (t - lag).clamp(min=0)) + jump)
        above = torch.maximum(above, above.gather(1, torch.minimum(t + lag, end)) - jump)
        lag, jump = 2 * lag, 2 * jump
    return below, above


def tdt_prune_bounds(
    occupancy: Tensor, frame_lens: Tensor, target_lens: Tensor, durations: Sequence[int], band: int
) -> Tensor:
    """Choose the band of every frame that holds the most occupancy, under the conditions in the module's docstring.

    If an utterance has more labels than bands of S can emit, its bounds do not reach U and its pruned loss is infinite.
    If 1 is among the durations, these are the only utterances with a path in the full and none in the pruned lattice.
    The computation runs on the CPU, with one copy in each direction.

    Args:
      occupancy: (B, T, U + 1) from `tdt_loss_simple`.
      frame_lens, target_lens: (B,) numbers of frames and labels.
      durations: the D durations in frames.
      band: S, at least 1.

    Returns:
      (B, T) int64 bounds on the occupancy's device; padding repeats the last frame's.

    Raises:
      ValueError: for sizes or durations that do not fit.

    >>> loss, occupancy = tdt_loss_simple(am, lm, targets, frame_lens, target_lens, durations)
    >>> bounds = tdt_prune_bounds(occupancy, frame_lens, target_lens, durations, band=5)
    """
    durations = checks.check_durations(durations)
    return _prune_bounds(occupancy, frame_lens, target_lens, durations, band, band)


def rnnt_prune_bounds(occupancy: Tensor, frame_lens: Tensor, target_lens: Tensor, band: int) -> Tensor:
    """`tdt_prune_bounds` for an RNN-T lattice (arXiv 2206.13236, section 3.2).

    Args:
      occupancy: (B, T, U + 1) from `rnnt_loss_simple`.
      band: S, at least 2: a blank's both states lie in the bands of their frames.
      Other arguments, result and errors: as for `tdt_prune_bounds`.

    >>> loss, occupancy = rnnt_loss_simple(am, lm, targets, frame_lens, target_lens)
    >>> bounds = rnnt_prune_bounds(occupancy, frame_lens, target_lens, band=5)
    """
    if band < 2:
        raise ValueError(f"band must be at least 2 label positions for RNN-T, got {band}")
    return _prune_bounds(occupancy, frame_lens, target_lens, (0, 1), band, band - 1)


def _prune_bounds(
    occupancy: Tensor, frame_lens: Tensor, target_lens: Tensor, durations: tuple[int, ...], band: int, rise: int
) -> Tensor:
    """Bounds that rise by at most `rise` over an arc of any duration."""
    if occupancy.dim() != 3:
        raise ValueError(f"occupancy must be (B, T, U + 1), got shape {tuple(occupancy.shape)}")
    if band < 1:
        raise ValueError(f"band must be at least 1 label position, got {band}")
    batch, num_frames, num_positions = occupancy.shape
    frame_lens = checks.check_lengths("frame_lens", frame_lens, batch, num_frames, "frames of occupancy")
    target_lens = checks.check_lengths("target_lens", target_lens, batch, num_positions - 1, "labels of occupancy")
    positive = [d for d in durations if d > 0]
    t = torch.arange(num_frames)
    highest = (target_lens + 1 - band).clamp(min=0).unsqueeze(1)  # E
    end = (frame_lens - positive[0]).clamp(min=0).unsqueeze(1)  # the last frame at which the last blank may start

    before = torch.nn.functional.pad(occupancy.detach().to("cpu", torch.float64).cumsum(2), (1, 0))
    p = torch.arange(max(1, num_positions + 1 - band))
    mass = before[..., (p + band).clamp(max=num_positions)] - before[..., p]
    forced = torch.where(t < end.clamp(min=1), -1, highest)  # (B, T), -1: free
    forced[:, 0] = 0
    wrong = (p > highest).unsqueeze(1) | ((p != forced.unsqueeze(2)) & (forced >= 0).unsqueeze(2))
    heaviest = _heaviest_bands(mass.masked_fill(wrong, -torch.inf))

    slowest = durations[0]
    bounds = most = torch.empty(0)
    for d in positive:
        jump = rise if slowest == 0 else min(rise, d // slowest)
        below, above = _limit_jumps(heaviest, d, jump, end)
        if slowest > 0:
            below, above = _limit_jumps(below, slowest, 1, end)[0], _limit_jumps(above, slowest, 1, end)[1]
        limited = (below + above) // 2
        limited = torch.maximum(limited, highest - _largest_rise((end - t).clamp(min=0), d, jump, slowest))
        limited = torch.minimum(limited, _largest_rise(t, d, jump, slowest).minimum(highest))
        kept = mass.gather(2, limited.unsqueeze(2)).sum((1, 2))
        if d == positive[0]:
            bounds, most = limited, kept
        reaches = limited.gather(1, end) == highest
        bounds = torch.where(reaches & (kept >= most - _COST).unsqueeze(1), limited, bounds)
    return bounds.to(occupancy.device)


def tdt_prune(pred_proj: Tensor, bounds: Tensor, band: int) -> Tensor:
    """The projected predictor output inside the bands: (B, T, S, J), differentiable.

    Adding the encoder's projection (B, T, 1, J) gives the joint's hidden layer, as for the full joint. Predictor
    masking comes before this.

    Args:
      pred_proj: (B, U + 1, J) projected predictor output.
      bounds: (B, T) from `tdt_prune_bounds`.
      band: S. If S > U + 1, position U is repeated.

    Raises:
      ValueError: for shapes that do not fit.
    """
    if pred_proj.dim() != 3 or bounds.dim() != 2 or pred_proj.size(0) != bounds.size(0):
        raise ValueError(
            f"pred_proj must be (B, U + 1, J) and bounds (B, T), got {tuple(pred_proj.shape)} and {tuple(bounds.shape)}"
        )
    batch, num_positions, _ = pred_proj.shape
    row = torch.arange(batch, device=bounds.device).view(-1, 1, 1) * num_positions
    index = row + band_positions(bounds, band, num_positions - 1)
    return torch.nn.functional.embedding(index, pred_proj.reshape(batch * num_positions, -1))
