"""Best paths and arc posteriors of layered lattices by torch alone, for installations without k2.

Scores run through the layers of `Arcs` one after another, all utterances of a batch at once, in float64. The results
are those of k2 but for rounding, and for the choice between paths of equal score.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hainan_k2.fsa.lattices.arcs import Arcs

_LOWEST = torch.finfo(torch.float64).min


@torch.no_grad()
def best_paths(arcs: Arcs) -> tuple[Tensor, Tensor]:
    """The best path of every lattice.

    Returns:
      (P,) int64 rows of the arcs on the paths, lattice after lattice, in the order of each path; and the paths' scores
      (B,) float64. A lattice without a path of finite score has no arcs and the score -inf.
    """
    source, target = _rows(arcs)
    ahead = _ends(arcs)
    _accumulate(ahead, arcs.score.double(), source, target, arcs.layer, total=False)
    value = arcs.score.double() + ahead[target]
    number = torch.arange(len(value), device=value.device)
    candidates = torch.where(value == ahead[source], number, len(value))
    best = torch.full_like(arcs.layer, len(value)).scatter_reduce_(0, source, candidates, "amin").tolist()

    scores = torch.full((len(arcs.num_states),), -torch.inf, dtype=torch.float64, device=value.device)
    some = arcs.num_states > 0
    scores[some] = ahead[arcs.first[some]]
    targets, path = target.tolist(), []
    ends = (arcs.first + arcs.num_states - 1).tolist()
    for state, end, score in zip(arcs.first.tolist(), ends, scores.tolist()):
        while score > -torch.inf and state != end:
            path.append(best[state])
            state = targets[path[-1]]
    return torch.tensor(path, dtype=torch.int64, device=value.device), scores


@torch.no_grad()
def arc_posteriors(arcs: Arcs) -> Tensor:
    """The probability (A,) float64 that a path of the lattice has this arc; 0 where no path has a finite score."""
    source, target = _rows(arcs)
    score = arcs.score.double()
    ahead, behind = _ends(arcs), torch.full_like(arcs.layer, -torch.inf, dtype=torch.float64)
    behind[arcs.first[arcs.num_states > 0]] = 0.0
    _accumulate(ahead, score, source, target, arcs.layer, total=True)
    _accumulate(behind, score, target, source, -arcs.layer, total=True)
    whole = ahead[arcs.first.repeat_interleave(arcs.num_states)]
    return (behind[source] + score + ahead[target] - whole[source].clamp(min=_LOWEST)).exp()


def _rows(arcs: Arcs) -> tuple[Tensor, Tensor]:
    """Source and target of every arc as rows of the S states, (A,) each."""
    offset = arcs.first[arcs.owner()]
    return offset + arcs.source, offset + arcs.target


def _ends(arcs: Arcs) -> Tensor:
    """(S,) float64: 0 at final states, -inf elsewhere."""
    values = torch.full_like(arcs.layer, -torch.inf, dtype=torch.float64)
    some = arcs.num_states > 0
    values[(arcs.first + arcs.num_states - 1)[some]] = 0.0
    return values


def _accumulate(values: Tensor, score: Tensor, into: Tensor, out_of: Tensor, layer: Tensor, total: bool) -> None:
    """values[into] = max or, with `total`, log of the sum of exp of score + values[out_of], by descending layer.

    Args:
      values: (S,) float64, changed in place; where no arc leads, it stays.
      score, into, out_of: (A,) of the arcs; arcs lead out of states of a higher layer than those they lead into.
      layer: (S,)
    """
    sorted_layer, order = layer[into].sort(descending=True, stable=True)
    counts = torch.unique_consecutive(sorted_layer, return_counts=True)[1].tolist()
    best, sums = torch.full_like(values, -torch.inf), torch.zeros_like(values)
    parts = (column[order].split(counts) for column in (score, into, out_of))
    for of_layer, states, others in zip(*parts):
        new = of_layer + values[others]
        best.scatter_reduce_(0, states, new, "amax")
        top = best[states]
        if total:
            sums.index_add_(0, states, (new - top.clamp(min=_LOWEST)).exp_())
            top = top + sums[states].log()
        values[states] = top
