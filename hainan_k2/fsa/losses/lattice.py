"""The training lattice of a transducer: which arcs exist, for a whole batch at once.

States, for an utterance of T frames and U labels: one state (t, u) for every frame t in [0, T) and every
number u in [0, U] of labels already emitted, and one final state. The start is (0, 0). From (t, u):

    token arc   d in token_steps, t + d < T, u < U    to (t + d, u + 1)
    blank arc   d in blank_steps, t + d < T           to (t + d, u)
    final arc   d in blank_steps, t + d = T, u = U    to the final state: a blank that lands exactly on T

    u = 2   o     o     o ---- blank, here d = 1 ----> ((final))
            |   /   /
    u = 1   o     o     o      token: up by one label and right by d = 0, 1, 2, ... frames
            |   /   /
    u = 0   o --> o --> o      blank: right by d = 1, 2, ... frames; there is no blank with d = 0
          t = 0   1     2

TDT (arXiv 2304.06795, section 3): token_steps = durations, blank_steps = the positive durations.
RNN-T (arXiv 1211.3711): token_steps = (0,), blank_steps = (1,).

A pruned lattice keeps a band of S label positions per frame: state s of frame t stands for
u = bounds[b, t] + s, and an arc exists where both its ends do. The full lattice is the band S = U + 1 whose
bounds are all 0.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor

_CACHED_LATTICES = 8  # no more are kept,
_CACHED_ARCS = 1 << 20  # nor more arcs in all of them together, about 40 MB


class TrainingLattice:
    """The lattices of a batch, their arcs laid out densely as (B, T, S, K).

    K counts the kinds of arcs that may leave a state: one per blank step, then one per token step.

    Args:
      frame_lens: (B,) int64 on the CPU, numbers of frames, each at most T.
      target_lens: (B,) int64 on the CPU, numbers of labels.
      blank_steps: frames advanced by the kinds of blank arcs, all positive.
      token_steps: frames advanced by the kinds of token arcs, 0 allowed.
      num_frames: T, padding included.
      band: S; for a full lattice U + 1, U being the padded number of labels.
      bounds: (B, T) int64, first label position of every frame's band; None stands for the full lattice.
      device: where the tensors live.
    """

    def __init__(
        self,
        frame_lens: Tensor,
        target_lens: Tensor,
        blank_steps: Sequence[int],
        token_steps: Sequence[int],
        num_frames: int,
        band: int,
        bounds: Tensor | None = None,
        device: torch.device | None = None,
    ):
        self.frame_lens, self.target_lens = frame_lens, target_lens
        self.num_frames, self.band, self.num_blanks = num_frames, band, len(blank_steps)
        self.steps = (*blank_steps, *token_steps)  # frames advanced by each kind of arc
        self.labels = (0,) * len(blank_steps) + (1,) * len(token_steps)  # labels advanced
        # Which of the D durations a kind of arc takes; no blank takes the first if that is 0.
        size = len(token_steps)
        self.durations = (*range(size - len(blank_steps), size), *range(size))
        self.widths = (target_lens + 1).clamp(max=band)  # states per frame, (B,)
        self.device = torch.device("cpu") if device is None else device
        self.cache = {}  # what a backend derives from the topology, by the backend's name

        lens, last, width = (x.to(self.device)[:, None, None] for x in (frame_lens, target_lens, self.widths))
        steps, labels = torch.tensor((self.steps, self.labels), device=self.device)
        t = torch.arange(num_frames, device=self.device)
        s = torch.arange(band, device=self.device)
        arrival = t[:, None] + steps  # (T, K) the frame an arc leads to
        if bounds is None:
            self.position = s.expand(1, 1, band)  # u of every state, (B or 1, T or 1, S)
            shift = labels.expand(1, 1, -1)
        else:
            self.position = bounds.unsqueeze(-1) + s
            shift = labels + bounds.unsqueeze(-1) - bounds[:, arrival.clamp(max=num_frames - 1)]
        self.arrival = arrival.unsqueeze(1)  # (T, 1, K)
        self.target = s[:, None] + shift.unsqueeze(2)  # (B or 1, T or 1, S, K) the s that an arc leads to

        exists = (t[:, None] < lens) & (self.position <= last)  # (B, T, S)
        inside = (self.arrival < lens[..., None]) & (self.target >= 0) & (self.target < width[..., None])
        final = (self.arrival == lens[..., None]) & (labels == 0) & (self.position == last).unsqueeze(-1)
        self.valid = (inside | final) & exists.unsqueeze(-1)  # (B, T, S, K)

    @property
    def num_arcs(self) -> int:
        """Arcs of the dense layout: B * T * S * K."""
        return self.valid.numel()


def band_positions(bounds: Tensor, band: int, num_labels: int) -> Tensor:
    """(B, T, S) label positions of the bands that start at `bounds` (B, T); num_labels instead of more."""
    return (bounds.unsqueeze(-1) + torch.arange(band, device=bounds.device)).clamp(max=num_labels)


_cache: OrderedDict[tuple, TrainingLattice] = OrderedDict()


def training_lattice(
    frame_lens: Tensor,
    target_lens: Tensor,
    blank_steps: Sequence[int],
    token_steps: Sequence[int],
    num_frames: int,
    band: int,
    bounds: Tensor | None = None,
    device: torch.device | None = None,
) -> TrainingLattice:
    """TrainingLattice(...), or an equal full one used a short while ago (bounds hardly ever repeat)."""
    sizes = blank_steps, token_steps, num_frames, band, bounds, device
    if bounds is not None:
        return TrainingLattice(frame_lens, target_lens, *sizes)
    lens = tuple(frame_lens.tolist()), tuple(target_lens.tolist())
    key = (lens, tuple(blank_steps), tuple(token_steps), num_frames, band, str(device))
    lattice = _cache.pop(key, None)
    if lattice is None:
        lattice = TrainingLattice(frame_lens, target_lens, *sizes)
    _cache[key] = lattice
    while len(_cache) > _CACHED_LATTICES or sum(x.num_arcs for x in _cache.values()) > _CACHED_ARCS:
        _cache.popitem(last=False)
    return lattice
