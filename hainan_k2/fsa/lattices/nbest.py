"""The most probable texts of a lattice, and the probability of a text over all its alignments.

Both take any topologically sorted FsaVec whose labels are tokens, with 0 as epsilon: nar_lattice, or its composition
with a language model or a grammar. A text is the token sequence of a path without epsilons. Its alignments are all
paths with that token sequence:

    (0) -- a --> (1) -- epsilon --> (2) -- b --> (3) -- -1 --> ((4))       one alignment of "a b"
     \\--- epsilon --> (5) -- a ----/                                       another one

Both recursions run backwards from the final states, over k2's state batches: sets of states, of all utterances at once,
that no arcs connect. A state's value describes the paths from it to the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.fsa.checks import check_lattice
from hainan_k2.fsa.k2 import Fsa
from hainan_k2.fsa.lattices.paths import Durations, arc_tokens, token_posteriors
from hainan_k2.result import Hypothesis, hypotheses_from_lists

_NUMBERS = 1 << 25  # in memory at a time in text_scores: 256 MB


@dataclass(frozen=True)
class Nbest:
    """N different texts of a batch of lattices, sorted by utterance, the best first, each with its best alignment."""

    lattice: Fsa
    utterance: Tensor  # (N,) int64
    score: Tensor  # (N,) float64, of the best alignment
    path: Tensor  # (M,) int64, which of the N texts each arc belongs to, ascending
    arc: Tensor  # (M,) int64, the arcs of the best alignments

    def texts(self) -> list[list[int]]:
        """The token ids of every text."""
        texts: list[list[int]] = [[] for _ in self.utterance]
        label = self.lattice.labels[self.arc]
        is_token = label > BLANK
        for path, token in zip(self.path[is_token].tolist(), label[is_token].tolist()):
            texts[path].append(token)
        return texts

    def select(self, rows: Tensor) -> Nbest:
        """The texts `rows` (K,), in this order."""
        rank = torch.arange(len(rows), device=rows.device)
        new_row = torch.full_like(self.utterance, len(rows)).index_copy(0, rows, rank)
        order = new_row[self.path].sort(stable=True)
        keep = order.values < len(rows)
        arc = self.arc[order.indices[keep]]
        return Nbest(self.lattice, self.utterance[rows], self.score[rows], order.values[keep], arc)

    def best_rows(self, scores: Tensor, count: int) -> Tensor:
        """(K,) the best `count` texts of every utterance by scores (N,): by utterance, the best first."""
        order = scores.sort(descending=True, stable=True).indices
        order = order[self.utterance[order].sort(stable=True).indices]
        owner = self.utterance[order]
        rank = torch.arange(len(order), device=order.device) - torch.searchsorted(owner, owner)
        return order[rank < count]

    def reordered(self, bonus: Tensor, count: int) -> Nbest:
        """The `count` best texts of every utterance by score + bonus (N,), with these as their scores."""
        scored = replace(self, score=self.score + bonus)
        return scored.select(self.best_rows(scored.score, count))

    def outputs(self) -> list[tuple[list[int], int]]:
        """For every text the aux_labels of its tokens, and that of the arc into the final state."""
        outputs: list[list[int]] = [[] for _ in self.utterance]
        last = [-1] * len(outputs)
        columns = self.path, self.lattice.labels[self.arc], self.lattice.aux_labels[self.arc]
        for path, label, output in zip(*(column.tolist() for column in columns)):
            if label > BLANK:
                outputs[path].append(output)
            elif label < BLANK:
                last[path] = output
        return list(zip(outputs, last))

    def hypotheses(self, frame_lens: Tensor, scores: Tensor, durations: Durations = None) -> list[Hypothesis]:
        """One Hypothesis per text, with the times of its best alignment; confidences are posteriors in the lattice.

        Args:
          frame_lens: (B,) number of frames of every utterance.
          scores: (N,) scores of the hypotheses.
          durations: of tokens, as for best_hypotheses.
        """
        lattice = self.lattice
        label, frame, duration = (x[self.arc] for x in (lattice.labels, lattice.frame, lattice.duration))
        duration = duration if durations is None else durations(label, duration)
        path, token, frame, duration = arc_tokens(self.path, label, frame, duration)
        owner = self.utterance[path]
        confidence = token_posteriors(lattice, owner, token, frame, frame_lens, path)
        columns = (path, token, frame, duration, confidence, scores, frame_lens.to(owner.device)[self.utterance])
        return hypotheses_from_lists(*(column.tolist() for column in columns))


class _Arcs:
    """A lattice's arcs as tensors, and its states in an order in which the targets of arcs come first.

    States and arcs are numbered over the whole batch. first, degree: (S,) the arcs that leave a state are first ...
    first + degree - 1. ValueError if the lattice is not topologically sorted.
    """

    def __init__(self, lattice: Fsa) -> None:
        import _k2

        check_lattice(lattice)
        shape, arcs = lattice.arcs.shape(), lattice.arcs.values()
        self.utterance = shape.row_ids(1).long()  # (S,)
        states, splits = shape.row_splits(1).long(), shape.row_splits(2).long()
        self.first, self.degree = splits[:-1], splits[1:] - splits[:-1]
        self.owner = self.utterance[shape.row_ids(2).long()]  # (A,)
        self.target = arcs[:, 1].long() + states[self.owner]
        self.label, self.score = lattice.labels.long(), lattice.scores.detach().double()
        self.begin, self.end = states[:-1], states[1:]  # (B,) states of an utterance: begin ... end - 1
        self._batches = _k2.get_state_batches(lattice.arcs, True)

    def backwards(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """States (n,), the arcs that leave them (n, E), and which of these exist (n, E); without final states."""
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


def best_texts(lattice: Fsa, count: int) -> Nbest:
    """The `count` most probable different texts of every utterance, ranked by their best alignments.

    An utterance with fewer texts gets all of them. The result is exact. Of two continuations of a state with the same
    text, only the better one can be part of a best alignment. If `count` other texts continue a state better than a
    given one, they do so after every prefix. So it suffices to keep `count` texts per state, distinguished by 64-bit
    hashes.

    Raises:
      ValueError: if count is below 1, and for a lattice that is not a topologically sorted FsaVec.

    >>> nbest = best_texts(lattice, 10)
    >>> scores = text_scores(lattice, nbest.utterance, nbest.texts())  # over all alignments
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
        total = arcs.score[arc][..., None] + score[target]
        total = torch.where(exists[..., None], total, -torch.inf).flatten(1)  # (n, E * count)
        after = history[target]
        longer = (after + label) * 6364136223846793005 + 1442695040888963407
        after = torch.where(label > BLANK, longer, after).flatten(1)
        total, order = total.sort(descending=True, stable=True)
        by_text = after.gather(1, order).sort(stable=True)  # same texts side by side, the best first
        repeated = torch.zeros_like(order, dtype=torch.bool)
        repeated[:, 1:] = by_text.values[:, 1:] == by_text.values[:, :-1]
        total = total.gather(1, by_text.indices).masked_fill(repeated, -torch.inf)
        best, column = total.topk(min(count, total.shape[1]))
        width, column = slice(best.shape[1]), order.gather(1, by_text.indices.gather(1, column))
        score[states, width], history[states, width] = best, after.gather(1, column)
        leaving[states, width] = arc.gather(1, torch.div(column, count, rounding_mode="floor"))
        following[states, width] = column % count
    return _follow(lattice, arcs, score, leaving, following)


def _follow(lattice: Fsa, arcs: _Arcs, score: Tensor, leaving: Tensor, following: Tensor) -> Nbest:
    """The texts of the start states, read along the back pointers of best_texts.

    Args:
      score: (S, count) of the texts of every state, -inf where there are fewer.
      leaving, following: (S, count) the arc that each text takes, and the index of its continuation in the next state.
    """
    begin = arcs.begin[arcs.end > arcs.begin]
    row, column = (score[begin] > -torch.inf).nonzero().unbind(1)
    state = begin[row]
    utterance, total = arcs.utterance[state], score[state, column]
    running, steps = torch.arange(len(state), device=state.device), []
    while len(running):
        arc = leaving[state, column]
        steps.append((running, arc))
        state, column = arcs.target[arc], following[state, column]
        onwards = arcs.degree[state] > 0
        running, state, column = running[onwards], state[onwards], column[onwards]
    path, arc = (torch.cat(parts) for parts in zip(*steps)) if steps else (running, running)
    path, order = path.sort(stable=True)
    return Nbest(lattice, utterance, total, path, arc[order])


def text_scores(lattice: Fsa, utterance: Tensor, texts: Sequence[Sequence[int]]) -> Tensor:
    """The log-probability of every text, summed over all its alignments.

    This is the log-semiring total of the text's composition with the lattice:

        beta(s, u) = logsumexp over arcs s --v--> r of   score + beta(r, u)        v epsilon
                                                         score + beta(r, u + 1)    v = y_{u+1}

    Args:
      lattice: FsaVec of B.
      utterance: (N,) int64, ascending: the lattice of every text.
      texts: N lists of token ids.

    Returns:
      (N,) float64; -inf if the lattice has no path with the text.

    Raises:
      ValueError: if `utterance` does not fit, and for a lattice that is not a topologically sorted FsaVec.
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
    """(B, N) totals of the texts `tokens` (B, N, U + 1), filled up with -1, of lengths `lens` (B, N)."""
    beta = arcs.score.new_full((len(arcs.degree), *tokens.shape[1:]), -torch.inf)
    some = arcs.end > arcs.begin  # lattices with states
    complete = torch.arange(tokens.shape[2], device=lens.device) == lens[some][..., None]
    beta[arcs.end[some] - 1] = torch.where(complete, 0.0, beta.new_tensor(-torch.inf))
    for states, arc, exists in arcs.backwards():
        label, onwards = arcs.label[arc][..., None, None], beta[arcs.target[arc]]  # (n, E, N, U + 1)
        if bool((label > BLANK).any()):
            shifted = torch.nn.functional.pad(onwards[..., 1:], (0, 1), value=-torch.inf)
            matching = torch.where(label == tokens[arcs.utterance[states]][:, None], shifted, -torch.inf)
            onwards = torch.where(label > BLANK, matching, onwards)
        weight = torch.where(exists, arcs.score[arc], -torch.inf)
        beta[states] = (onwards + weight[..., None, None]).logsumexp(1)
    totals = beta.new_full(tokens.shape[:2], -torch.inf)
    totals[some] = beta[arcs.begin[some], :, 0]
    return totals
