"""The hypotheses of an autoregressive search between two prunings: those that wait, and the continuations of a step."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from hainan_k2.search.ar_columns import COLUMNS, KEY, PLACE
from hainan_k2.search.ar_step import Step


class Pool:
    """P = W (C + 1) places per utterance: for each of W hypotheses, its C continuations and the hypothesis itself.

    score: (B, P) float64; -inf at the places of hypotheses that were extended, and of continuations that there are not.
    """

    def __init__(self, columns: Tensor, score: Tensor, chosen: Tensor, step: Step) -> None:
        """columns: (COLUMNS, B, W), score: (B, W); chosen: (N,) places of the extended hypotheses among the B * W."""
        self.batch, self.width = score.shape
        self.old, self.chosen, self.step = columns.view(COLUMNS, -1), chosen, step
        self.size = step.score.shape[1]
        self.made = len(chosen) * self.size
        self.waiting = score.view(-1)
        places = score.new_full((self.batch * self.width, self.size + 1), -torch.inf)
        places[:, self.size] = self.waiting
        places.index_copy_(0, chosen, pad(step.score, (0, 1), value=-torch.inf))
        self.score = places.view(self.batch, -1)

    def column(self, name: int) -> Tensor:
        """A column of all places (B, P). Unused places have distinct values in KEY and PLACE, else 0."""
        own = self.old[name]
        places = own.new_zeros((len(own), self.size + 1))
        if name in (KEY, PLACE):
            places = torch.arange(places.numel(), device=own.device).view(places.shape)
        places[:, self.size] = own
        extended = torch.cat([self.step.columns[name], own.index_select(0, self.chosen).unsqueeze(1)], dim=1)
        return places.index_copy_(0, self.chosen, extended).view(self.batch, -1)

    def source(self, at: Tensor) -> Tensor:
        """(B, K) what is at places (B, K): a number below `made` for a continuation, else `made` + hypothesis."""
        row = torch.div(at, self.size + 1, rounding_mode="floor")
        column = at - row * (self.size + 1)
        if self.batch > 1:
            row += torch.arange(0, self.batch * self.width, self.width, device=at.device).unsqueeze(1)
        first = torch.arange(0, self.made, self.size, device=at.device)
        first = torch.zeros_like(self.old[0]).index_copy_(0, self.chosen, first)
        return torch.where(column == self.size, row + self.made, first.take(row) + column)

    def columns(self, source: Tensor) -> Tensor:
        """All columns (COLUMNS, B, K) of `source` (B, K)."""
        every = torch.cat([self.step.columns.flatten(1), self.old], dim=1)
        return every.index_select(1, source.view(-1)).view(COLUMNS, *source.shape)
