"""Acceptors over tokens for searches that go arc by arc: closed grammars, and word graphs LG.

The automaton need not be deterministic: a state may have several arcs of a token, as LG has where words begin alike.
There are no epsilons.

    states   0 ... S - 1; the start is 0
    arcs     (q) -- token : output / score --> (r), sorted by q
    final    every state with a final score above -infinity
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Union

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class TokenGraph:
    """S states and A arcs as tensors. Scores are natural logarithms.

    >>> arcs = torch.tensor([[0, 1, 5], [0, 2, 5], [1, 3, -1], [2, 3, -1]])
    >>> graph = TokenGraph.of(arcs, torch.tensor([-1.0, -2.0, 0.0, 0.0]), torch.tensor([7, 0, -1, -1]))
    >>> graph.leaving(torch.tensor([0]))
    (tensor([0, 0]), tensor([0, 1]))
    """

    first: Tensor  # (S + 1,) int64: the arcs that leave q are first[q] to first[q + 1]
    label: Tensor  # (A,) int64, tokens
    target: Tensor  # (A,) int64
    score: Tensor  # (A,) float64
    output: Tensor  # (A,) int64, ids of outputs, 0 for none
    final_score: Tensor  # (S,) float64, -inf where a state is not final

    start = 0

    @classmethod
    def of(cls, arcs: Tensor, scores: Tensor, outputs: Tensor) -> TokenGraph:
        """From the arcs of a k2.Fsa without epsilons: those of label -1 into the last state become final scores.

        Args:
          arcs: (A, 3 or more): source, target and label; sources ascend.
          scores: (A,) natural logarithms.
          outputs: (A,) ids of outputs.
        Raises:
          ValueError: if there is an epsilon, or no token.
        """
        source, target, label = (column.long() for column in arcs[:, :3].unbind(1))
        if (label == 0).any():
            raise ValueError(f"the graph has {int((label == 0).sum())} epsilons: only tokens can be searched")
        scores, num_states = scores.double(), int(target.max())  # without the last state
        ending = label == -1
        if ending.all():
            raise ValueError("the graph has no token: it accepts the empty text alone")
        final = scores.new_full((num_states,), -torch.inf)
        final.index_put_((source[ending],), scores[ending])
        source, keep = source[~ending], ~ending
        first = torch.searchsorted(source.contiguous(), torch.arange(num_states + 1))
        return cls(first, label[keep], target[keep], scores[keep], outputs[keep].long(), final)

    @property
    def num_states(self) -> int:
        """S."""
        return len(self.final_score)

    def to(self, device: Union[str, torch.device]) -> TokenGraph:
        """The same graph on `device`."""
        return TokenGraph(*(getattr(self, f.name).to(device) for f in fields(self)))

    def leaving(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """All arcs that leave states (N,): (M,) which of the states, ascending, and (M,) the arc."""
        first = self.first.index_select(0, states)
        degree = self.first.index_select(0, states + 1) - first
        owner = torch.repeat_interleave(degree)
        rank = torch.arange(len(owner), device=owner.device) - (degree.cumsum(0) - degree).index_select(0, owner)
        return owner, first.index_select(0, owner) + rank

    def final(self, states: Tensor) -> Tensor:
        """Final scores (N,) of states (N,)."""
        return self.final_score[states]
