"""Whole-lattice rescoring: lattices of a word graph with the scores of another, larger language model.

    states   (S, h): S the states of the lattice that one sequence of labels leads to, h a history of the larger LM
    start    ({start}, <s>)
    final    one state of its own, the last
    arcs     (S, h) -- v : w / score - small LM + scale * LM(w | h) -->  (all states after v : w from S, h after w)
             (S, h) -- -1 : score - small LM + scale * LM(</s> | h) -->  (final)

v is a token with frame, a blank or a duration, w a word or none. Words are scored where the lattice has them, on the
arc of their last token.

The small LM backs off by epsilons, so that its lattice may have several paths, with different scores, for the same
alignment of the same words. Without its scores these paths are equal; the sets S make one path of them, and sums over
paths count an alignment of words once. This is determinization, of arcs whose scores depend on the labels up to them
alone: the frame, the column of the model's scores and the words.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hainan_k2.fsa.checks import check_lattice
from hainan_k2.fsa.fsavec import arc_owner, ragged_arcs
from hainan_k2.fsa.k2 import Fsa, load_k2
from hainan_k2.fsa.language.word_lm import WordLm
from hainan_k2.fsa.lattices.composition import MAX_COMPOSED_ARCS


@torch.no_grad()
def rescore_lattice(lattice: Fsa, word_lm: WordLm, lm_scale: float, max_arcs: int = MAX_COMPOSED_ARCS) -> Fsa:
    """The paths of `lattice` with lm_scale times the scores of `word_lm` in place of its lm_scores.

    Args:
      lattice: FsaVec of B, connected, from intersect_tdt or intersect_ctc with a word graph: `aux_labels` are words,
        `lm_scores` the scaled scores of the graph.
      word_lm: on the lattice's device.
      max_arcs: refuse results of more arcs than this.
    Returns:
      A k2.Fsa (FsaVec of B), connected and topologically sorted, with `frame`, `duration`, `aux_labels` and
      `lm_scores`, those of `word_lm` times lm_scale. States and arcs are those of the module's docstring. An utterance
      without arcs has no states.
    Raises:
      ValueError: for a lattice that is a single FSA, not sorted or without lm_scores; with the size, for a result of
        more than max_arcs arcs.
    """
    check_lattice(lattice)
    if not hasattr(lattice, "lm_scores"):
        raise ValueError("the lattice has no lm_scores: only the lattice of a word graph can be rescored")
    search = _Rescoring(lattice, word_lm, lm_scale)
    while search.running:
        search.step()
        if search.num_arcs > max_arcs:
            raise ValueError(
                f"a lattice of {lattice.num_arcs} arcs has more than {max_arcs} with the larger language model: "
                "search with a smaller output_beam, or fewer utterances at once"
            )
    return search.result()


@dataclass(frozen=True)
class _Layer:
    """The arcs that leave the states after the same number of arcs: (A,) each."""

    source: Tensor  # among all states
    target: Tensor  # among all states; -1 for the final one
    arc: Tensor  # one of the arcs of the lattice that it stands for
    lm_score: Tensor


class _Rescoring:
    """The states (S, h) after n arcs, n = 0, 1 ..., of all utterances; `member` has the members of all their sets S."""

    def __init__(self, lattice: Fsa, word_lm: WordLm, lm_scale: float) -> None:
        self.lattice, self.word_lm, self.lm_scale = lattice, word_lm, lm_scale
        shape = lattice.arcs.shape()
        states, self.splits = shape.row_splits(1).long(), shape.row_splits(2).long()
        owner = arc_owner(lattice)
        self.target = lattice.arcs.values()[:, 1].long() + states[owner]
        filled = torch.bincount(owner, minlength=lattice.shape[0]).nonzero()[:, 0]
        self.symbol = torch.zeros_like(owner)
        for column in (lattice.labels, lattice.aux_labels, lattice.frame, lattice.duration):
            width = int(column.max()) + 2 if len(column) else 2
            self.symbol = torch.unique(self.symbol * width + column + 1, return_inverse=True)[1]
        self.num_symbols = int(self.symbol.max()) + 1 if len(self.symbol) else 1

        self.utterance = [filled]  # of the states, by number of arcs
        self.history = torch.full_like(filled, word_lm.lm.start)
        self.state, self.member = torch.arange(len(filled), device=states.device), states[filled]
        self.first, self.num_arcs = 0, 0  # first: the number of the first of the states
        self.layers: list[_Layer] = []

    @property
    def running(self) -> bool:
        """Whether there are states whose arcs are not known yet."""
        return len(self.member) > 0

    def step(self) -> None:
        """Make the arcs of the states, and the states after them."""
        degree = self.splits[self.member + 1] - self.splits[self.member]
        pair = torch.repeat_interleave(degree)
        arc = torch.arange(len(pair), device=pair.device) - (degree.cumsum(0) - degree)[pair]
        arc += self.splits[self.member][pair]
        # Arcs of one state with one symbol become one.
        key, order = (self.state[pair] * self.num_symbols + self.symbol[arc]).sort(stable=True)
        arc, source = arc[order], self.state[pair][order]
        group, starts = _groups(key)
        source, one = source[starts], arc[starts]
        score, history = self.word_lm.advance(self.history[source], self.lattice.aux_labels[one])
        ending = self.lattice.labels[one] == -1
        score = score + torch.where(ending, self.word_lm.lm.final(history), torch.zeros_like(score))

        # Groups that lead to the same set with the same history lead to the same state.
        goes_on = ~ending
        inner = goes_on[group]
        keys = torch.unique(group[inner] * len(self.splits) + self.target[arc][inner])
        members = keys.div(len(self.splits), rounding_mode="floor"), keys % len(self.splits)
        total = torch.zeros_like(history).index_add_(0, members[0], _mixed(members[1]))
        total = _mixed(_mixed(total) + history)[goes_on]  # one number in place of two: set and history
        number, first = _by_first(total)
        target = torch.full_like(history, -1)
        target[goes_on] = number
        self._advance(source, target, one, score, history, members, goes_on.nonzero()[:, 0][first])

    def _advance(
        self,
        source: Tensor,
        target: Tensor,
        arc: Tensor,
        score: Tensor,
        history: Tensor,
        members: tuple[Tensor, Tensor],
        first: Tensor,
    ) -> None:
        """Keep the arcs; the states after them become those of the next step. `first`: of each, a group into it."""
        after = self.first + len(self.history)
        self.layers.append(
            _Layer(source + self.first, torch.where(target < 0, target, target + after), arc, self.lm_scale * score)
        )
        self.num_arcs += len(arc)
        utterance = self.utterance[-1][source]
        state = torch.full_like(history, -1)
        state[first] = torch.arange(len(first), device=first.device)
        kept = state[members[0]] >= 0
        self.state, self.member = state[members[0]][kept], members[1][kept]
        self.history, self.first = history[first], after
        self.utterance.append(utterance[first])

    def result(self) -> Fsa:
        """The lattices, with states in order of utterance and number of arcs."""
        lattice, batch = self.lattice, self.lattice.shape[0]
        columns = ([getattr(layer, name) for layer in self.layers] for name in ("source", "target", "arc", "lm_score"))
        source, target, arc, lm_score = (torch.cat(parts) if parts else self.member for parts in columns)
        utterance = torch.cat(self.utterance)
        counts = torch.bincount(utterance, minlength=batch)
        order = utterance.sort(stable=True).indices
        number = torch.empty_like(order)
        number[order] = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[utterance[order]]
        rows = torch.stack([number[source], number[target.clamp(min=0)], lattice.labels[arc].long(), source * 0], dim=1)
        ending = target < 0
        rows[ending, 1] = counts[utterance[source[ending]]]

        sizes = counts + (counts > 0)  # the final states as well
        begin = sizes.cumsum(0) - sizes
        state, by_source = (begin[utterance[source]] + number[source]).sort(stable=True)
        arc, lm_score = arc[by_source], lm_score[by_source].float()
        leaving = torch.bincount(state, minlength=int(sizes.sum()))
        rescored = load_k2().Fsa(ragged_arcs(sizes, leaving, rows[by_source].int()))
        rescored.scores = lattice.scores[arc] - lattice.lm_scores[arc] + lm_score
        rescored.frame, rescored.duration = lattice.frame[arc], lattice.duration[arc]
        rescored.frame_filler = rescored.duration_filler = -1
        rescored.aux_labels, rescored.lm_scores = lattice.aux_labels[arc], lm_score
        return rescored


def _groups(key: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) which group of equal neighbours each of the sorted keys (N,) is in, and the first row of each group."""
    new = torch.ones_like(key, dtype=torch.bool)
    new[1:] = key[1:] != key[:-1]
    return new.cumsum(0) - 1, new.nonzero()[:, 0]


def _by_first(values: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) numbers of the different values (N,), in order of their first rows, and these rows."""
    ordered, order = values.sort(stable=True)
    group, starts = _groups(ordered)
    first = order[starts]  # the lowest row of each group: the sort is stable
    by_row = first.sort()
    rank = torch.empty_like(first)
    rank[by_row.indices] = torch.arange(len(first), device=first.device)
    number = torch.empty_like(values)
    number[order] = rank[group]
    return number, by_row.values


def _mixed(values: Tensor) -> Tensor:
    """64-bit hashes of integers (N,); the hash of a set is the sum of those of its members."""
    for factor, shift in ((-7046029254386353131, 31), (-4658895280553007687, 29), (-7723592293110705685, 32)):
        values = (values + 1) * factor
        values = values ^ (values >> shift & (1 << (64 - shift)) - 1)  # the shift of an unsigned number
    return values
