"""The texts of a lattice: the most probable ones, and how probable each is over all its alignments.

Takes any acyclic, topologically sorted lattice whose labels are tokens, 0 being epsilon: nar_lattice, or its
composition with a language model or a grammar. A text is the tokens on a path without epsilons; many paths,
its alignments, spell the same text:

    (0) -- a --> (1) -- epsilon --> (2) -- b --> (3) -- -1 --> ((4))       a b, aligned in one way
     \\--- epsilon --> (5) -- a ----/                                       a b, aligned in another

Both recursions run backwards, from the final states, over k2's state batches: sets of states, of all
utterances at once, that no arc connects with each other. What is known of a state is what can still be said
from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.fsa.checks import check_lattice
from hainan_k2.fsa.lattices.paths import arc_tokens, token_posteriors
from hainan_k2.result import Hypothesis, hypotheses_from_lists

_NUMBERS = 1 << 25  # kept at a time by text_scores: 256 MB


@dataclass(frozen=True)
class Nbest:
    """N different texts of a batch of lattices, utterance after utterance, the best first.

    utterance: (N,) int64, whose text it is. score: (N,) float64, of its best alignment. path, arc: (M,) int64,
    the arcs of all best alignments in order, and which of the N each is of.
    """

    lattice: object
    utterance: Tensor
    score: Tensor
    path: Tensor
    arc: Tensor

    def texts(self) -> list[list[int]]:
        """The token ids of every text."""
        found: list[list[int]] = [[] for _ in self.utterance]
        label = self.lattice.labels[self.arc]
        spoken = label > BLANK
        for path, token in zip(self.path[spoken].tolist(), label[spoken].tolist()):
            found[path].append(token)
        return found

    def select(self, rows: Tensor) -> Nbest:
        """Only the texts `rows` (K,), in their order."""
        rank = torch.arange(len(rows), device=rows.device)
        place = torch.full_like(self.utterance, len(rows)).index_copy(0, rows, rank)
        order = place[self.path].sort(stable=True)
        keep = order.values < len(rows)
        arc = self.arc[order.indices[keep]]
        return Nbest(self.lattice, self.utterance[rows], self.score[rows], order.values[keep], arc)

    def hypotheses(self, frame_lens: Tensor, scores: Tensor) -> list[Hypothesis]:
        """One Hypothesis per text, with these scores (N,) and the times of its best alignment.

        frame_lens: (B,). The lattice has `frame` and `duration`; a token's confidence is its posterior in it.
        """
        lattice = self.lattice
        attributes = (lattice.labels, lattice.frame, lattice.duration)
        path, token, frame, duration = arc_tokens(self.path, *(x[self.arc] for x in attributes))
        owner = self.utterance[path]
        confidence = token_posteriors(lattice, owner, token, frame, frame_lens, path)
        columns = (path, token, frame, duration, confidence, scores, frame_lens.to(owner.device)[self.utterance])
        return hypotheses_from_lists(*(column.tolist() for column in columns))


class _Arcs:
    """A lattice's arcs as tensors, and its states in an order in which every arc leads to a state before.

    first, degree: (S,) the arcs that leave every state; target: (A,) states, counted over the whole batch. ValueError
    where the lattice has no such order.
    """

    def __init__(self, lattice):
        import _k2

        check_lattice(lattice)
        shape, arcs = lattice.arcs.shape(), lattice.arcs.values()
        self.utterance = shape.row_ids(1).long()  # (S,)
        states, splits = shape.row_splits(1).long(), shape.row_splits(2).long()
        self.first, self.degree = splits[:-1], splits[1:] - splits[:-1]
        self.owner = self.utterance[shape.row_ids(2).long()]  # (A,)
        self.target = arcs[:, 1].long() + states[self.owner]
        self.label, self.score = lattice.labels.long(), lattice.scores.detach().double()
        self.begin, self.end = states[:-1], states[1:]  # (B,) start states, and after the final ones
        self._batches = _k2.get_state_batches(lattice.arcs, True)

    def backwards(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """states (n,), the arcs that leave them (n, E), and which of those exist (n, E); final states are left out."""
        sizes = self._batches.shape.row_splits(1).long()
        states = self._batches.values.long()
        bounds = self._batches.shape.row_splits(2).long()[sizes].tolist()
        for low, high in reversed(list(zip(bounds, bounds[1:]))):
            batch = states[low:high]
            batch = batch[self.degree[batch] > 0]
            if len(batch):
                column = torch.arange(int(self.degree[batch].max()), device=batch.device)
                exists = column < self.degree[batch][:, None]
                yield batch, torch.where(exists, self.first[batch][:, None] + column, 0), exists


def best_texts(lattice, count: int) -> Nbest:
    """The `count` most probable different texts of every utterance, by their best alignments; fewer where
    there are no more.

    Exact: of two ways to go on from a state with the same text only the better can be on a best alignment,
    and if `count` texts are better from a state, they are better behind every beginning. So `count` texts per
    state suffice, told apart by 64-bit hashes.

    Raises:
      ValueError: if count is below 1, or for a lattice that is no topologically sorted FsaVec.
    """
    if count < 1:
        raise ValueError(f"count is {count}: ask for at least one text")
    arcs = _Arcs(lattice)
    size = (len(arcs.degree), count)
    score = arcs.score.new_full(size, -torch.inf)
    history, leaving, following = (torch.zeros(size, dtype=torch.int64, device=score.device) for _ in range(3))
    score[arcs.end[arcs.end > arcs.begin] - 1, 0] = 0.0  # final states
    for states, arc, exists in arcs.backwards():
        label, target = arcs.label[arc][..., None], arcs.target[arc]
        known = arcs.score[arc][..., None] + score[target]
        known = torch.where(exists[..., None], known, -torch.inf).flatten(1)  # (n, E * count)
        after = history[target]
        longer = (after + label) * 6364136223846793005 + 1442695040888963407
        after = torch.where(label > BLANK, longer, after).flatten(1)
        known, order = known.sort(descending=True, stable=True)
        together = after.gather(1, order).sort(stable=True)  # what is the same, the best first
        again = torch.zeros_like(order, dtype=torch.bool)
        again[:, 1:] = together.values[:, 1:] == together.values[:, :-1]
        known = known.gather(1, together.indices).masked_fill(again, -torch.inf)
        best, place = known.topk(min(count, known.shape[1]))
        width, place = slice(best.shape[1]), order.gather(1, together.indices.gather(1, place))
        score[states, width], history[states, width] = best, after.gather(1, place)
        leaving[states, width] = arc.gather(1, torch.div(place, count, rounding_mode="floor"))
        following[states, width] = place % count
    return _follow(lattice, arcs, score, leaving, following)


def _follow(lattice, arcs: _Arcs, score: Tensor, leaving: Tensor, following: Tensor) -> Nbest:
    """The texts of the start states, read along what best_texts kept of every state, (S, count) each."""
    begin = arcs.begin[arcs.end > arcs.begin]
    row, place = (score[begin] > -torch.inf).nonzero().unbind(1)
    state = begin[row]
    utterance, total = arcs.utterance[state], score[state, place]
    running, steps = torch.arange(len(state), device=state.device), []
    while len(running):
        arc = leaving[state, place]
        steps.append((running, arc))
        state, place = arcs.target[arc], following[state, place]
        onwards = arcs.degree[state] > 0
        running, state, place = running[onwards], state[onwards], place[onwards]
    path, arc = (torch.cat(column) for column in zip(*steps)) if steps else (running, running)
    path, order = path.sort(stable=True)
    return Nbest(lattice, utterance, total, path, arc[order])


def text_scores(lattice, utterance: Tensor, texts: Sequence[Sequence[int]]) -> Tensor:
    """log of the summed probabilities of all alignments of each text: the log-semiring total of its
    composition with the lattice.

        beta(s, u) = logsumexp over arcs s --v--> r of   score + beta(r, u)        v epsilon
                                                         score + beta(r, u + 1)    v = y_{u+1}

    Args:
      utterance: (N,) int64, ascending: the lattice that each text is looked for in.
      texts: N lists of token ids.

    Returns:
      (N,) float64; -inf where the lattice does not hold the text.

    Raises:
      ValueError: if `utterance` does not fit, or for a lattice that is no topologically sorted FsaVec.
    """
    arcs, batch = _Arcs(lattice), lattice.shape[0]
    owners = utterance.tolist()
    if len(owners) != len(texts) or owners != sorted(owners) or not all(0 <= b < batch for b in owners):
        raise ValueError(f"utterance {owners[:20]} should be {len(texts)} ascending numbers below {batch}")
    scores = arcs.score.new_full((len(texts),), -torch.inf)
    if not texts:
        return scores
    utterance = utterance.to(scores.device)
    rank = torch.arange(len(texts), device=utterance.device) - torch.searchsorted(utterance, utterance)
    longest = max(map(len, texts))
    padded = torch.tensor(
        [[*text, *[-1] * (longest - len(text))] for text in texts], dtype=torch.int64, device=utterance.device
    )
    lens = torch.tensor([len(text) for text in texts], device=utterance.device)
    width = max(1, _NUMBERS // (len(arcs.degree) * (longest + 1)))
    for low in range(0, int(rank.max()) + 1, width):
        rows = ((rank >= low) & (rank < low + width)).nonzero()[:, 0]
        at = utterance[rows], rank[rows] - low
        size = (batch, int(at[1].max()) + 1)
        tokens = padded.new_full((*size, longest + 1), -1)
        tokens[(*at, slice(longest))] = padded[rows]
        ends = lens.new_zeros(size).index_put(at, lens[rows])
        scores[rows] = _totals(arcs, tokens, ends)[at]
    return scores


def _totals(arcs: _Arcs, tokens: Tensor, lens: Tensor) -> Tensor:
    """(B, N) totals of the texts tokens (B, N, U + 1) of these lengths; -1 stands behind a text."""
    beta = arcs.score.new_full((len(arcs.degree), *tokens.shape[1:]), -torch.inf)
    some = arcs.end > arcs.begin  # lattices with states
    spelled = torch.arange(tokens.shape[2], device=lens.device) == lens[some][..., None]
    beta[arcs.end[some] - 1] = torch.where(spelled, 0.0, beta.new_tensor(-torch.inf))
    for states, arc, exists in arcs.backwards():
        label, onwards = arcs.label[arc][..., None, None], beta[arcs.target[arc]]  # (n, E, N, U + 1)
        if bool((label > BLANK).any()):
            shifted = torch.nn.functional.pad(onwards[..., 1:], (0, 1), value=-torch.inf)
            said = torch.where(label == tokens[arcs.utterance[states]][:, None], shifted, -torch.inf)
            onwards = torch.where(label > BLANK, said, onwards)
        weight = torch.where(exists, arcs.score[arc], -torch.inf)
        beta[states] = (onwards + weight[..., None, None]).logsumexp(1)
    totals = beta.new_full(tokens.shape[:2], -torch.inf)
    totals[some] = beta[arcs.begin[some], :, 0]
    return totals
