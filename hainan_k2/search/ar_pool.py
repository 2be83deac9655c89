"""The hypotheses of an autoregressive search between two prunings: continuations of a step, and those that wait."""

from __future__ import annotations

import torch
from torch import Tensor

from hainan_k2.search.ar_columns import COLUMNS, KEY, PLACE
from hainan_k2.search.ar_step import Step


class Pool:
    """P = M C + W places per utterance: C continuations of up to M extended hypotheses, then W hypotheses.

    score: (B, P) float64; -inf at the places of hypotheses that were extended, and at those that are not used.
    """

    def __init__(self, columns: Tensor, score: Tensor, chosen: Tensor, step: Step) -> None:
        """columns: (COLUMNS, B, W), score: (B, W); chosen: (N,) places of the extended hypotheses among the B * W."""
        self.batch, self.width = score.shape
        self.old, self.chosen, self.step = columns.view(COLUMNS, -1), chosen, step
        self.size, self.most = step.score.shape[1], len(chosen)
        self.slot: Tensor | None = None  # (N,) of the extended hypotheses among the B * M; None: one utterance
        if self.batch > 1:
            owner = torch.div(chosen, self.width, rounding_mode="floor")
            counts = torch.bincount(owner, minlength=self.batch)
            self.most = int(counts.max())
            first = counts.cumsum(0) - counts
            self.slot = torch.arange(len(chosen), device=owner.device) + (owner * self.most - first[owner])
        self.waiting = score.view(-1).index_fill(0, chosen, -torch.inf)
        unused = score.new_full((), -torch.inf)
        self.score = torch.cat([self._spread(step.score, unused), self.waiting.view(self.batch, -1)], dim=1)

    def _spread(self, values: Tensor, unused: Tensor) -> Tensor:
        """Values (N, C) at their places (B, M * C), and `unused`, which broadcasts to them, at the others."""
        if self.slot is None:
            return values.view(1, -1)
        places = unused.expand(self.batch * self.most, self.size).clone()
        return places.index_copy_(0, self.slot, values).view(self.batch, -1)

    def column(self, name: int) -> Tensor:
        """A column of all places (B, P). Unused places have distinct values in KEY and PLACE, else 0."""
        own = self.old[name]
        unused = own.new_zeros(())
        if self.slot is not None and name in (KEY, PLACE):
            unused = torch.arange(self.batch * self.most * self.size, device=own.device).view(-1, self.size)
        return torch.cat([self._spread(self.step.columns[name], unused), own.view(self.batch, -1)], dim=1)

    def source(self, at: Tensor) -> Tensor:
        """(B, K) what is at places (B, K): a number below N * C for a continuation, else N * C + hypothesis."""
        ends, made = self.most * self.size, len(self.chosen) * self.size
        if self.slot is None:  # the places are in this order
            return at
        utterance = torch.arange(self.batch, device=at.device).unsqueeze(1)
        row = torch.div(at, self.size, rounding_mode="floor")
        number = torch.arange(len(self.chosen), device=at.device)
        number = at.new_zeros(self.batch * self.most).index_copy_(0, self.slot, number)
        continuation = number.take((utterance * self.most + row).clamp(max=len(number) - 1))
        continuation = continuation * self.size + (at - row * self.size)
        return torch.where(at < ends, continuation, utterance * self.width + (at - ends + made))

    def columns(self, source: Tensor) -> Tensor:
        """All columns (COLUMNS, B, K) of `source` (B, K)."""
        every = torch.cat([self.step.columns.flatten(1), self.old], dim=1)
        return every.index_select(1, source.view(-1)).view(COLUMNS, *source.shape)

    def continuations(self, places: Tensor) -> Tensor:
        """Of values at all places (B, P), those of the continuations, (N, C)."""
        places = places[:, : self.most * self.size].reshape(-1, self.size)
        return places if self.slot is None else places.index_select(0, self.slot)
