"""Which band of label positions a pruned lattice keeps of every frame; after pruned RNN-T, arXiv 2206.13236.

Bounds p[t], the first label position of frame t's band of S, satisfy

    p[0] = 0, p never falls                the start is in its band, and time and labels run forward
    p <= E = max(0, U + 1 - S)             no band reaches beyond U
    p[t] = E where a last blank leaves     U can be reached
    p[t + d] - p[t] <= S                   frames that an arc may join stay reachable from each other
    p[t + d] - p[t] <= d / d_min           if no duration is 0: bands go no faster than labels can be spelled

for the shortest positive duration d, and for the longer ones up to the longest that this costs nothing: where labels
come faster than S in d frames, paths do not jump over d frames, but a band that waited for them would lose them.
The minimum, maximum and rounded-down mean of two such p are such a p again, on which `_limit_jumps` rests.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hainan_k2.fsa import checks
from hainan_k2.fsa.losses.lattice import band_positions

_COST = 0.01  # nothing: states that a path visits, on average over paths, outside the band; about as many nats


def _heaviest_bands(mass: Tensor) -> Tensor:
    """(B, T) positions that maximise the sum over t of mass[b, t, p[t]], p never falling: a Viterbi pass.

    Args:
      mass: (B, T, P), -inf where p[t] may not be.
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
    """How far bounds rise in `lag` frames at most: `jump` in d frames, 1 in `slowest` (0: no such limit)."""
    rest = lag % d
    last = ((rest + slowest - 1) // slowest).clamp(max=jump) if slowest > 0 else jump
    return lag // d * jump + last * (rest > 0)


def _limit_jumps(bounds: Tensor, lag: int, jump: int, end: Tensor) -> tuple[Tensor, Tensor]:
    """The largest bounds below and the smallest above `bounds` (B, T) that rise by at most `jump` in `lag` frames.

    Both are `bounds` where these do so already. What happens behind `end` (B, 1) does not count.
    """
    t = torch.arange(bounds.size(1)).expand_as(bounds)
    below, above = bounds, bounds
    while lag < bounds.size(1):  # lag, 2 lag, 4 lag: every multiple of it in few steps
        below = torch.minimum(below, below.gather(1, (t - lag).clamp(min=0)) + jump)
        above = torch.maximum(above, above.gather(1, torch.minimum(t + lag, end)) - jump)
        lag, jump = 2 * lag, 2 * jump
    return below, above


def tdt_prune_bounds(
    occupancy: Tensor, frame_lens: Tensor, target_lens: Tensor, durations: Sequence[int], band: int
) -> Tensor:
    """Choose the band of every frame: the most mass, under the conditions in this module's header.

    An utterance of more labels than bands of S can spell gets bounds that do not reach U, hence an infinite pruned
    loss; if 1 is among the durations, only these have a path in the full lattice and none in the pruned one.
    Computed on the CPU, with one copy each way.

    Args:
      occupancy: (B, T, U + 1) of `tdt_loss_simple`.
      frame_lens, target_lens: (B,) numbers of frames and labels.
      durations: the D durations in frames.
      band: S, at least 1.

    Returns:
      (B, T) int64 on the occupancy's device; at padding, the last frame's.

    Raises:
      ValueError: for sizes or durations that do not fit.
    """
    durations = checks.check_durations(durations)
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
    end = (frame_lens - positive[0]).clamp(min=0).unsqueeze(1)  # the last blank leaves from here or before

    before = torch.nn.functional.pad(occupancy.detach().to("cpu", torch.float64).cumsum(2), (1, 0))
    p = torch.arange(max(1, num_positions + 1 - band))
    mass = before[..., (p + band).clamp(max=num_positions)] - before[..., p]
    forced = torch.where(t < end.clamp(min=1), -1, highest)  # (B, T), -1: not forced
    forced[:, 0] = 0
    wrong = (p > highest).unsqueeze(1) | ((p != forced.unsqueeze(2)) & (forced >= 0).unsqueeze(2))
    heaviest = _heaviest_bands(mass.masked_fill(wrong, -torch.inf))

    slowest = durations[0]
    bounds = most = None
    for d in positive:
        jump = band if slowest == 0 else min(band, d // slowest)
        below, above = _limit_jumps(heaviest, d, jump, end)
        if slowest > 0:
            below, above = _limit_jumps(below, slowest, 1, end)[0], _limit_jumps(above, slowest, 1, end)[1]
        limited = (below + above) // 2
        limited = torch.maximum(limited, highest - _largest_rise((end - t).clamp(min=0), d, jump, slowest))
        limited = torch.minimum(limited, _largest_rise(t, d, jump, slowest).minimum(highest))
        kept = mass.gather(2, limited.unsqueeze(2)).sum((1, 2))
        if bounds is None:
            bounds, most = limited, kept
        reaches = limited.gather(1, end) == highest
        bounds = torch.where(reaches & (kept >= most - _COST).unsqueeze(1), limited, bounds)
    return bounds.to(occupancy.device)


def tdt_prune(pred_proj: Tensor, bounds: Tensor, band: int) -> Tensor:
    """The predictor's output in the bands: (B, T, S, J) from (B, U + 1, J), differentiable.

    Add the encoder's projection (B, T, 1, J) and go on as for the full joint. Mask the predictor before this.

    Args:
      pred_proj: (B, U + 1, J) projected predictor output.
      bounds: (B, T) of `tdt_prune_bounds`.
      band: S. Where S > U + 1, position U fills what is over.
    """
    if pred_proj.dim() != 3 or bounds.dim() != 2 or pred_proj.size(0) != bounds.size(0):
        raise ValueError(
            f"pred_proj must be (B, U + 1, J) and bounds (B, T), got {tuple(pred_proj.shape)} and {tuple(bounds.shape)}"
        )
    batch, num_positions, _ = pred_proj.shape
    row = torch.arange(batch, device=bounds.device).view(-1, 1, 1) * num_positions
    index = row + band_positions(bounds, band, num_positions - 1)
    return torch.nn.functional.embedding(index, pred_proj.reshape(batch * num_positions, -1))
