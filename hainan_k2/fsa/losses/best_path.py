"""The best path of training lattices: the alignment of a text with the highest score, in the max semiring.

States and arcs are those of hainan_k2.fsa.losses.lattice. The recursion runs along the diagonals n = t + u, as in
backend_torch, because every arc leads to a later diagonal:

    best[n, u] = max over arcs k that arrive in (t = n - u, u) of   best[n - lag_k, u - label_k] + score_k
    back[n, u] = the arc k of the maximum, one byte

Beside the bytes, only the diagonals that the longest arc reaches back to are kept. Long recordings are aligned in a
band of W label positions per diagonal: state (n, u) exists if bounds[n] <= u < bounds[n] + W. It is stored at slot u
mod W: wherever the band moves, an arc leads from a slot to the same one (blank) or the next one (label).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# (frame, position), each (B, W) int64 -> log-probabilities of the blank (B, W), of the label that follows the position
# (B, W), and of the durations (B, W, D). Frames and positions are within the utterance, or any others where the value
# does not matter.
StateScores = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Alignment:
    """The best path of one utterance.

    score: natural log; -inf where no path emits all labels, and the lists are then empty.
    frames, durations: of each label: the frame that emits it, and its duration in frames.
    room: how far the path stays from the edges of its band, in labels; the number of labels where there is no band.
    """

    score: float
    frames: list[int]
    durations: list[int]
    room: int


def best_paths(
    scores: StateScores,
    frame_lens: Tensor,
    target_lens: Tensor,
    durations: Sequence[int],
    bounds: Tensor | None = None,
    width: int = 0,
) -> list[Alignment]:
    """The best paths of B utterances.

    Args:
      scores: of the arcs that leave a state.
      frame_lens, target_lens: (B,) int64, numbers of frames and of labels.
      durations: the D durations in frames, ascending.
      bounds: (B, N) int64, the first position of the band on each of N diagonals; at least 0, never falling. There are
        more diagonals than frames and labels together. None for the full lattice.
      width: W, positions in the band.
    """
    device = frame_lens.device
    longest = int((frame_lens + target_lens).max()) + 1
    if bounds is None:
        width = int(target_lens.max()) + 1
        bounds = frame_lens.new_zeros(len(frame_lens), longest)
    steps = [d for d in durations if d > 0]
    kinds = [(d, 0, durations.index(d)) for d in steps] + [(d, 1, i) for i, d in enumerate(durations)]
    step, label, index = torch.tensor(kinds, device=device).T
    lags, is_label = step + label, (label == 1)[:, None, None]
    depth, arc = int(lags.max()) + 1, torch.arange(len(kinds), device=device)
    lens, last = frame_lens[:, None], target_lens[:, None]
    slot = torch.arange(width, device=device)

    back = torch.zeros(longest, len(frame_lens), width, dtype=torch.uint8, device=device)
    leaving = torch.full((depth, len(kinds), *back.shape[1:]), -torch.inf, dtype=torch.float64, device=device)
    sources = torch.full((depth, *back.shape[1:]), -9, dtype=torch.int64, device=device)  # positions of the states
    totals = torch.full(frame_lens.shape, -torch.inf, dtype=torch.float64, device=device)
    for n in range(longest):
        first = bounds[:, n, None]
        position = first + (slot - first) % width
        frame = n - position
        rows = (n - lags) % depth
        arriving = leaving[rows, arc]
        arriving = torch.where(is_label, arriving.roll(1, -1), arriving)
        source = sources[rows]
        source = torch.where(is_label, source.roll(1, -1) + 1, source)
        best, back[n] = arriving.masked_fill_(source != position, -torch.inf).max(0)
        if n == 0:
            best.masked_fill_((position == 0) & (lens > 0), 0.0)
        at_end = (frame == lens) & (position == last)
        totals = torch.where(at_end, best, -torch.inf).amax(1).maximum(totals)
        here = (frame >= 0) & (frame < lens) & (position <= last)
        blank, token, duration = scores(frame.minimum(lens - 1).clamp(min=0), position.minimum(last))
        arrival = frame + step[:, None, None]
        final = (arrival == lens) & (position == last) & ~is_label
        exists = ((arrival < lens) & (~is_label | (position < last)) | final) & here
        score = torch.where(is_label, token.double(), blank.double()) + duration.double().permute(2, 0, 1)[index]
        leaving[n % depth] = (best + score).masked_fill_(~exists, -torch.inf)
        sources[n % depth] = torch.where(here, position, -9)
    table, starts = back.cpu().numpy(), bounds.tolist()
    sizes = zip(totals.tolist(), frame_lens.tolist(), target_lens.tolist())
    return [
        _follow(table[:, b], kinds, starts[b], total, frames, labels) for b, (total, frames, labels) in enumerate(sizes)
    ]


def _follow(
    back: Any, kinds: Sequence[tuple[int, int, int]], bounds: Sequence[int], total: float, frames: int, labels: int
) -> Alignment:
    """Read the path of one utterance backwards from the final state; back: (N, W) numbers of arcs."""
    width = back.shape[1]
    if total == -float("inf"):
        return Alignment(total, [], [], labels)
    n, position, room = frames + labels, labels, labels
    emissions: list[tuple[int, int]] = []
    while n > 0:
        step, label, _ = kinds[back[n, position % width]]
        n, position = n - step - label, position - label
        if label:
            emissions.append((n - position, step))
        if bounds[n] > 0:
            room = min(room, position - bounds[n])
        if bounds[n] + width <= labels:
            room = min(room, bounds[n] + width - 1 - position)
    emissions.reverse()
    return Alignment(total, [frame for frame, _ in emissions], [step for _, step in emissions], room)
