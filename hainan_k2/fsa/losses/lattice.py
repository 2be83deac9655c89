"""The training lattice of a transducer, for a whole batch at once: all alignments of the targets.

For an utterance of T frames and U labels:

    states   (t, u) for every frame t in [0, T) and every number u in [0, U] of labels emitted so far, and a final state
    start    (0, 0)
    final    one state of its own
    arcs     from (t, u):
             token   for d in token_steps with t + d < T and u < U    to (t + d, u + 1)
             blank   for d in blank_steps with t + d < T              to (t + d, u)
             final   for d in blank_steps with t + d = T and u = U    to the final state: a blank that ends exactly at T

    u = 2   o     o     o ---- blank, here d = 1 ----> ((final))
            |   /   /
    u = 1   o     o     o      token: up by one label and right by d = 0, 1, 2, ... frames
            |   /   /
    u = 0   o --> o --> o      blank: right by d = 1, 2, ... frames; there is no blank with d = 0
          t = 0   1     2

TDT (arXiv 2304.06795, section 3): token_steps = durations, blank_steps = the positive durations.
RNN-T (arXiv 1211.3711): token_steps = (0,), blank_steps = (1,).

A pruned lattice keeps a band of S label positions per frame: state s of frame t is u = bounds[b, t] + s, and an arc
exists if both its states do. The full lattice is the band S = U + 1 with all bounds 0.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_CACHED_LATTICES = 8  # at most,
_CACHED_ARCS = 1 << 20  # with at most this many arcs together, about 40 MB


class TrainingLattice:
    """The training lattices of a batch. States and arcs are those of the module's docstring.

    Arcs are stored densely as (B, T, S, K): arc k of state (b, t, s). K is the number of blank steps plus the number of
    token steps; `valid` tells which arcs exist.

    Args:
      frame_lens: (B,) int64 on the CPU, numbers of frames, each at most T.
      target_lens: (B,) int64 on the CPU, numbers of labels.
      blank_steps: durations of blank arcs in frames, all positive.
      token_steps: durations of token arcs in frames; may include 0.
      num_frames: T, padding included.
      band: S; U + 1 for a full lattice, where U is the padded number of labels.
      bounds: (B, T) int64, first label position of every frame's band; None for the full lattice.
      device: of the tensors; None is the CPU.
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
        self.steps = (*blank_steps, *token_steps)  # (K,) frames that arc k advances
        self.labels = (0,) * len(blank_steps) + (1,) * len(token_steps)  # (K,) labels that arc k advances
        # (K,) index of arc k's duration. Blanks use the last ones: where the first duration is 0, no blank has it.
        size = len(token_steps)
        self.durations = (*range(size - len(blank_steps), size), *range(size))
        self.widths = (target_lens + 1).clamp(max=band)  # states per frame, (B,)
        self.device = torch.device("cpu") if device is None else device
        self.cache: dict[str, Any] = {}  # a backend's own form of the lattice, by the backend's name

        lens, last, width = (x.to(self.device)[:, None, None] for x in (frame_lens, target_lens, self.widths))
        steps, labels = _constants((self.steps, self.labels), self.device)
        t = torch.arange(num_frames, device=self.device)
        s = torch.arange(band, device=self.device)
        arrival = t[:, None] + steps  # (T, K) target frame
        if bounds is None:
            self.position = s.expand(1, 1, band)  # u of every state, (B or 1, T or 1, S)
            shift = labels.expand(1, 1, -1)
        else:
            self.position = bounds.unsqueeze(-1) + s
            shift = labels + bounds.unsqueeze(-1) - bounds[:, arrival.clamp(max=num_frames - 1)]
        self.arrival = arrival.unsqueeze(1)  # (T, 1, K)
        self.target = s[:, None] + shift.unsqueeze(2)  # (B or 1, T or 1, S, K) target s

        exists = (t[:, None] < lens) & (self.position <= last)  # (B, T, S)
        inside = (self.arrival < lens[..., None]) & (self.target >= 0) & (self.target < width[..., None])
        final = (self.arrival == lens[..., None]) & (labels == 0) & (self.position == last).unsqueeze(-1)
        self.valid = (inside | final) & exists.unsqueeze(-1)  # (B, T, S, K)

    @property
    def num_arcs(self) -> int:
        """Arcs of the dense layout: B * T * S * K."""
        return self.valid.numel()


def arc_steps(durations: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(blank_steps, token_steps) of a TDT lattice; without durations those of an RNN-T lattice."""
    return (tuple(d for d in durations if d > 0), tuple(durations)) if durations else ((1,), (0,))


def band_positions(bounds: Tensor, band: int, num_labels: int) -> Tensor:
    """(B, T, S) label positions of bands that start at `bounds` (B, T); at most num_labels."""
    return (bounds.unsqueeze(-1) + torch.arange(band, device=bounds.device)).clamp(max=num_labels)


@functools.lru_cache(maxsize=64)
def _constants(values: tuple[tuple[int, ...], ...], device: torch.device) -> Tensor:
    """The values as an int64 tensor; a batch with new bounds does not copy them to the device again."""
    return torch.tensor(values, device=device)


_cache: OrderedDict[tuple[Any, ...], TrainingLattice] = OrderedDict()


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
    """TrainingLattice(...), taken from a small cache of recent full lattices if possible; bounds rarely repeat."""
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
