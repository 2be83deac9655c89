"""The training lattices of an n-best list as one automaton over the list's prefix tree.

The texts of an utterance share prefixes, and the alignments of a prefix are the same in all of them. So a state is a
frame and a node of the tree of prefixes, and the forward sums of a node serve all texts that begin with it.

    states   (t, n) for every frame t in [0, T) and every node n of the utterance's tree; one final state per text
    start    (0, root): the empty prefix
    final    the final state of the text whose total is asked for
    arcs     from (t, n):
             token   for every child c of n and d in durations with t + d < T    to (t + d, c)
             blank   for d > 0 in durations with t + d < T                       to (t + d, n)
             final   for every text that ends in n and d > 0 with t + d = T      to its final state: a blank

Restricted to one text, this is the training lattice of hainan_k2.fsa.losses.lattice (TDT, arXiv 2304.06795).

The sums run along the diagonals k = t + depth(n), as in backend_torch: every arc leads to a later diagonal, also where
d = 0. One step per diagonal serves all nodes of all utterances. All numbers are float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_IMPOSSIBLE = -1e300  # log 0, but finite, also summed many times: -inf - -inf would be nan


@dataclass(frozen=True)
class PrefixTree:
    """The M distinct prefixes of N texts of a batch, shortest first; the prefixes of an utterance are a tree."""

    token: Tensor  # (M,) int64, the last token of the prefix; 0 for the empty one
    parent: Tensor  # (M,) int64, the node without that token; its own number for the empty prefix
    depth: Tensor  # (M,) int64, tokens of the prefix
    utterance: Tensor  # (M,) int64
    end: Tensor  # (N,) int64, the node of every text
    levels: tuple[int, ...]  # nodes of each depth

    @classmethod
    def of(cls, utterance: Sequence[int], texts: Sequence[Sequence[int]], device: torch.device) -> PrefixTree:
        """The tree of N texts, each a sequence of token ids, and of their utterances, N numbers."""
        numbers: dict[tuple[int, int], int] = {}  # by (parent, token); a root by (-1 - utterance, 0)
        columns: list[tuple[int, int, int, int]] = []  # token, parent, depth, utterance
        ends = []
        for owner, text in zip(utterance, texts):
            node = -1 - owner
            for length, label in enumerate((0, *text)):
                key = (node, label)
                if key not in numbers:
                    numbers[key] = len(columns)
                    columns.append((label, max(node, -1), length, owner))
                node = numbers[key]
            ends.append(node)
        order = sorted(range(len(columns)), key=lambda node: columns[node][2])
        token, parent, depth, owners = torch.tensor([columns[i] for i in order], dtype=torch.int64).view(-1, 4).T
        number = torch.empty(len(columns), dtype=torch.int64)
        number[order] = torch.arange(len(order))
        parent = torch.where(parent < 0, torch.arange(len(order)), number[parent])
        end = number[torch.tensor(ends, dtype=torch.int64)]
        levels = tuple(torch.bincount(depth).tolist())
        columns_on_device = (x.to(device) for x in (token, parent, depth, owners, end))
        return cls(*columns_on_device, levels)  # type: ignore[call-arg,arg-type]

    def __len__(self) -> int:
        return len(self.token)


@dataclass(frozen=True)
class TreeScores:
    """Log-probabilities of the arcs that leave states (t, n), by frame and node; at most -1e300 for no such arc."""

    blank: Tensor  # (T, M), at (t, n)
    token: Tensor  # (T, M), of the token of node n at (t, parent of n)
    duration: Tensor  # (T, M, D), at (t, n)


class TreeLattice:
    """The automaton of the module's docstring, with scores on its arcs.

    Args:
      tree: of N texts, M nodes.
      frame_lens: (B,) int64, frames of every utterance, on the tree's device.
      durations: the D durations in frames, ascending; (0,) for an RNN-T, whose blanks advance one frame.
      scores: of the arcs.
    """

    def __init__(self, tree: PrefixTree, frame_lens: Tensor, durations: Sequence[int], scores: TreeScores) -> None:
        self.tree, self.lens, self.scores = tree, frame_lens[tree.utterance], scores
        device, nodes = tree.token.device, len(tree)
        self.blank_steps = [(i, d) for i, d in enumerate(durations) if d > 0] or [(0, 1)]
        self.lags = [*(d for _, d in self.blank_steps), *(d + 1 for d in durations)]  # diagonals that an arc advances
        self.lag, self.size = max(self.lags), int((self.lens + tree.depth).max()) + 1 if nodes else 1
        node = torch.arange(nodes, device=device)
        source = torch.stack([node] * len(self.blank_steps) + [tree.parent] * len(durations))  # (A, M)
        lag = torch.tensor(self.lags, device=device)[:, None]
        # Where the sources of the arcs into a diagonal are, within the `lag` diagonals before it.
        self.sources = ((self.lag - lag) * nodes + source).view(-1)
        self.weight = self._arriving()
        self.alpha = self._forward()

    def _arriving(self) -> Tensor:
        """(size, A, M) scores of the arcs, by the diagonal and the node that they lead to."""
        tree, scores, nodes = self.tree, self.scores, len(self.tree)
        arcs = len(self.lags) * nodes  # of a diagonal
        flat = scores.blank.new_full((self.size * arcs + 1,), _IMPOSSIBLE, dtype=torch.float64)
        frames = torch.arange(len(scores.blank), device=flat.device)[:, None]
        place = (frames + tree.depth) * arcs + torch.arange(nodes, device=flat.device)
        blank, token = scores.blank.double(), scores.token.double().masked_fill(tree.depth == 0, _IMPOSSIBLE)
        after_parent = scores.duration[:, tree.parent]
        count = len(self.blank_steps)
        for arc, lag in enumerate(self.lags):
            if arc < count:
                step, score = lag, blank + scores.duration[..., self.blank_steps[arc][0]]
            else:
                step, score = lag - 1, token + after_parent[..., arc - count]
            index = place + (step * arcs + arc * nodes)
            index = torch.where(frames + step < self.lens, index, self.size * arcs)  # others: to a place of their own
            flat.put_(index, score.clamp_(min=_IMPOSSIBLE))
        return flat[:-1].view(self.size, len(self.lags), nodes)

    def _forward(self) -> Tensor:
        """(lag + size, M): log-sums of the paths from the start to the states, `lag` empty diagonals before the first.

        `weight` then holds, for every state, the log-probability that a path to it arrives by each arc.
        """
        nodes = len(self.tree)
        alpha = self.weight.new_full((self.lag + self.size, nodes), _IMPOSSIBLE)
        roots = (self.tree.depth == 0) & (self.lens > 0)
        alpha[self.lag] = torch.where(roots, 0.0, alpha[self.lag])
        for k in range(1, self.size):
            before = alpha.view(-1)[k * nodes : (k + self.lag) * nodes]
            score = self.weight[k].add_(before.index_select(0, self.sources).view(-1, nodes))
            conditional = score.log_softmax(0)
            torch.sub(score.amax(0), conditional.amax(0), out=alpha[k + self.lag])  # a logsumexp in fewer kernels
            score.copy_(conditional)
        return alpha

    def _finals(self) -> tuple[Tensor, Tensor]:
        """(E, N) scores of the texts' final arcs, with the paths before them, and the flat indices of their states."""
        end, nodes = self.tree.end, len(self.tree)
        lens, depth = self.lens[end], self.tree.depth[end]
        scores, states = [], []
        for index, step in self.blank_steps:
            frame = (lens - step).clamp(min=0)
            state = (frame + depth) * nodes + end
            score = self.scores.blank[frame, end].double() + self.scores.duration[frame, end, index]
            score = score.clamp(min=_IMPOSSIBLE) + self.alpha.view(-1)[state + self.lag * nodes]
            scores.append(torch.where(lens >= step, score, score.new_tensor(_IMPOSSIBLE)))
            states.append(state)
        return torch.stack(scores), torch.stack(states)

    def totals(self) -> Tensor:
        """(N,) log-probability of every text, summed over its alignments; -inf for a text without any."""
        if not len(self.tree.end) or not len(self.scores.blank):
            return self.alpha.new_full((len(self.tree.end),), -torch.inf)
        total = self._finals()[0].logsumexp(0)
        return total.masked_fill(total < _IMPOSSIBLE / 2, -torch.inf)

    def occupancy(self) -> Tensor:
        """(T, M): for every state the number of texts whose alignments pass through it, in expectation.

        Each text counts with the posterior of its own alignments, so the number is at least the largest of them.
        Call it once: it overwrites the forward sums.
        """
        nodes, size = len(self.tree), self.size * len(self.tree)
        gamma = self.weight.new_zeros(size + self.lag * nodes)  # `lag` diagonals before the first
        scores, states = self._finals()
        share = torch.where(scores.amax(0) > _IMPOSSIBLE / 2, scores.softmax(0), 0.0)
        gamma.index_add_(0, (states + self.lag * nodes).view(-1), share.view(-1))
        weight = self.weight.exp_()
        for k in range(self.size - 1, 0, -1):
            here = gamma[(k + self.lag) * nodes : (k + self.lag + 1) * nodes]
            before = gamma[k * nodes : (k + self.lag) * nodes]
            before.index_add_(0, self.sources, weight[k].mul_(here).view(-1))
        frames = torch.arange(len(self.scores.blank), device=gamma.device)[:, None]
        state = (frames + self.tree.depth).clamp(max=self.size - 1) * nodes + torch.arange(nodes, device=gamma.device)
        return torch.where(frames < self.lens, gamma[state + self.lag * nodes], 0.0)
