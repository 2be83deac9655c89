"""The predictor outputs that the hypotheses of a search refer to by number."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from hainan_k2.model.hainan import Hainan

ROWS = 1024  # of the tables at first


class Predictions:
    """Projected outputs and states of the predictor after different texts, one text per row.

    A hypothesis holds the number of its row, so that nothing is copied when hypotheses are selected. Row 0 is SOS.
    """

    def __init__(self, model: Hainan, batch: int, device: torch.device, dtype: torch.dtype) -> None:
        self.model = model
        sos = torch.zeros(1, dtype=torch.int64, device=device)
        out, state = model.predictor.step(sos, model.predictor.initial_state(1, device, dtype))
        self.used, self.capacity = 0, ROWS + 8 * batch
        self.tables = [t.new_empty((self.capacity, *t.shape[1:])) for t in self._columns(out, state)]
        self._append(self._columns(out, state))

    def _columns(self, out: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (self.model.joiner.project_predictor(out), *state)

    def outputs(self, rows: Tensor) -> Tensor:
        """Projected outputs (N, J) of rows (N,)."""
        return self.tables[0].index_select(0, rows)

    def advance(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """The rows (N,) of new texts: those of rows (N,), each followed by one of tokens (N,)."""
        out, state = self.model.predictor.step(tokens, tuple(table.index_select(0, rows) for table in self.tables[1:]))
        return self._append(self._columns(out, state))

    def _append(self, columns: tuple[Tensor, ...]) -> Tensor:
        begin, self.used = self.used, self.used + len(columns[0])
        if self.used > self.capacity:
            self.capacity = 2 * self.used
            self.tables = [
                torch.cat([t[:begin], t.new_empty((self.capacity - begin, *t.shape[1:]))]) for t in self.tables
            ]
        for table, column in zip(self.tables, columns):
            table[begin : self.used] = column
        return torch.arange(begin, self.used, device=columns[0].device)

    def copied(self) -> Predictions:
        """A copy to which rows can be added without changing this one."""
        other = copy.copy(self)
        other.capacity, other.tables = self.used, [table[: self.used].clone() for table in self.tables]
        return other

    def crowded(self, needed: int) -> bool:
        """Whether the tables are nearly full, and most of it is garbage if at most `needed` rows are referred to."""
        return self.used > max(self.capacity - needed, 4 * needed)

    def keep(self, rows: Tensor) -> Tensor:
        """Drop all rows but those in `rows`, any shape; returns their new numbers, in the same shape."""
        kept, new = rows.unique(return_inverse=True)
        self.used = len(kept)
        for table in self.tables:
            table[: self.used] = table.index_select(0, kept)
        return new
