"""The search behind lm_lattice: NAR lattices composed with language models, pruned on the way, for a whole batch.

    states   (t, q): frame t and LM state q
    start    (0, start of the LM)
    final    every (T, q), with LM score LM(</s> | q)
    arcs     (t, q) -- v : log P_T(v | t) + w log P_D(d | t) + LM(v | q) -->  (min(T, t + max(1, d)), q after v)

Only the states "before the token" of nar_lattice remain; a token and its duration are one arc. A blank has LM score 0
and leaves q as it is. Paths that meet in a state are one hypothesis from there on, but all arcs into it are kept.

The search goes frame by frame. An *emission* is a token emitted from a state, with its LM score. It waits until the
frame that a duration leads to, where it becomes an *arrival*; the longest wait is the longest duration.

**Pruning.** Scores at different frames become comparable when the best continuation of the lattice without LM, h(t), is
added to them: a table of T numbers, computed from the back beforehand (weight pushing, in terms of FSAs). At frame t
hypotheses thus compete also with those that skip the frame, and frames that only bad paths visit cost nothing. A
hypothesis that is `beam` worse than the best is dropped. Of the others, `max_active` states stay on every frame; the LM
scores the best 2 * `max_active` of their emissions, of which the best `max_active` stay.

**Hotwords** give a part of their score while a phrase is incomplete and take it back if it is never completed. A
hypothesis is therefore judged by two values: its score, and its score without the part that may be taken back. It is
dropped if its score is `beam` worse than the best score of the second kind, and it stays among the `max_active` if
either value is good enough. With scores of the first kind alone, hypotheses with incomplete phrases would displace all
others, and would then emit blanks to the end, because any other token takes the score back.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from hainan_k2.fsa.language.scorers import WeightedScorers, check_states
from hainan_k2.fsa.lattices.nar_lattice import Tables

# torch 1.13 warns at the first call in a process that scatter_reduce_ is beta; later versions compute the same.
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "scatter_reduce", UserWarning)
    torch.zeros(1).scatter_reduce_(0, torch.zeros(1, dtype=torch.int64), torch.zeros(1), "amax")

_LOWEST = torch.finfo(torch.float64).min
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Composition:
    """S states in order of frames, the B starts first; K emissions; A arrivals in order of frames.

    One arrival stands for all durations that lead to its frame. Scores are float64 and pushed: 0 along the best path of
    the lattice without LM.
    """

    utterance: Tensor  # (S,)
    state: Tensor  # (S,) state of the scorer
    frame: Tensor  # (S,)
    score: Tensor  # (S,) of the best path from the start
    final: Tensor  # (S,) LM score of the end of the sentence; -inf before the last frame
    source: Tensor  # (K,) state of the emission
    slot: Tensor  # (K,) flat index of its token in Tables.labels
    lm_score: Tensor  # (K,)
    emission: Tensor  # (A,) which of the K
    target: Tensor  # (A,) state
    arrival_score: Tensor  # (A,) of the best path from the start that ends with this arrival
    counts: list[int]  # number of arrivals on every frame from 1 on


@torch.no_grad()
def compose_pruned(tables: Tables, scorer: WeightedScorers, beam: float, max_active: int) -> Composition:
    """The pruned composition; some of its states may have no path to the end, see `survivors`.

    Raises ValueError as check_states.
    """
    check_states(scorer.num_states, len(tables.lens))
    search = _Search(tables, scorer, beam, max_active)
    for frame in range(int(tables.lens.max()) + 1):
        if frame:
            search.arrive(frame)
        search.emit(frame)
    return search.result()


@torch.no_grad()
def survivors(composition: Composition, beam: float) -> tuple[Tensor, Tensor]:
    """Which arrivals (A,) bool and final states (S,) bool are on a path at most `beam` worse than the best one."""
    c = composition
    ahead, end = c.final.clone(), len(c.emission)  # ahead: score of the best path from a state to the end
    source = c.source[c.emission]
    step = c.arrival_score - c.score[source]
    for count in reversed(c.counts):
        arcs = slice(end - count, end)
        ahead.scatter_reduce_(0, source[arcs], step[arcs] + ahead[c.target[arcs]], "amax")
        end -= count
    best = ahead[: int((c.frame == 0).sum())]
    limit = (best - beam - _ROUNDING).clamp(min=_LOWEST)[c.utterance]
    return c.arrival_score + ahead[c.target] >= limit[source], c.score + c.final >= limit


class _Search:
    """The hypotheses of `compose_pruned` between two frames. Integers that belong together are rows of one tensor."""

    def __init__(self, tables: Tables, scorer: WeightedScorers, beam: float, max_active: int) -> None:
        self.tables, self.scorer, self.beam, self.max_active = tables, scorer, beam, max_active
        self.token_scores, self.reach, self.span = _push(tables)
        self.labels = tables.labels.contiguous()
        self.starts, self.ends = tables.starts, set(tables.lens.tolist())
        batch, device = len(tables.lens), tables.lens.device
        # The states on the frame, sorted by utterance and LM state. Rows: utterance, LM state.
        utterance = torch.arange(batch, device=device)
        self.state = torch.stack([utterance, torch.full_like(utterance, scorer.start)])
        self.score = torch.zeros_like(utterance, dtype=torch.float64)
        self.limit = torch.full_like(self.score, max(-beam, _LOWEST))
        # Emissions that may still arrive. Rows: utterance, LM state, row of `reach` for an arrival at frame 1.
        self.waiting, self.waiting_score = utterance.new_empty((3, 0)), self.score[:0]
        self.num_states, self.emission_counts = 0, [0]
        self.states: list[tuple[Tensor, Tensor, Tensor]] = []
        self.emissions: list[tuple[Tensor, Tensor]] = []
        self.arrivals: list[tuple[Tensor, Tensor, Tensor]] = []

    def arrive(self, frame: int) -> None:
        """Make the states of `frame` from the emissions that arrive there, recombined and pruned."""
        utterance, state, offset = self.waiting
        here, here_or_later = (self.reach.index_select(0, offset + (frame - 1)) + self.waiting_score[:, None]).unbind(1)
        certain = self._values(state, here_or_later)[-1]
        best = torch.full_like(self.limit, -torch.inf).scatter_reduce_(0, utterance, certain, "amax")
        self.limit = (best - self.beam).clamp_(min=_LOWEST)
        rows = (here >= self.limit.index_select(0, utterance)).nonzero()[:, 0]
        utterance, state, _ = self.waiting.index_select(1, rows)
        key, order = (utterance * self.scorer.num_states + state).sort(stable=True)
        rows = rows.index_select(0, order)
        score = here.index_select(0, rows)
        new = torch.ones_like(key, dtype=torch.bool)
        torch.ne(key[1:], key[:-1], out=new[1:])
        target, first = new.cumsum(0) - 1, rows.index_select(0, new.nonzero()[:, 0])
        self.state = self.waiting[:2].index_select(1, first)
        self.score = score.new_full(first.shape, -torch.inf).scatter_reduce_(0, target, score, "amax")
        keep = self._best(self.state[0], self.state[1], self.score, self.max_active)
        if keep is not None:
            self.state, self.score = self.state.index_select(1, keep), self.score.index_select(0, keep)
            number = torch.full_like(first, -1).index_copy_(0, keep, torch.arange(keep.numel(), device=keep.device))
            target = number.index_select(0, target)
            kept = (target >= 0).nonzero()[:, 0]
            rows, target, score = (x.index_select(0, kept) for x in (rows, target, score))
        before = sum(self.emission_counts) - offset.numel()
        self.arrivals.append((rows + before, target + self.num_states, score))

    def _values(self, state: Tensor, score: Tensor) -> list[Tensor]:
        """The scores (R,) of hypotheses in LM states (R,) and, if they differ, those without the refundable part."""
        return [score, score - self.scorer.refundable(state)] if self.scorer.refunds else [score]

    def _best(self, utterance: Tensor, state: Tensor, score: Tensor, count: int) -> Tensor | None:
        """Rows, of (R,) sorted by utterance, with a value at least as good as their utterance's `count`-th best.

        None means all rows.
        """
        if score.numel() <= count:
            return None
        values = self._values(state, score)
        if self.limit.numel() == 1:  # a batch of one utterance
            best = [value >= value.topk(count, sorted=False).values.amin() for value in values]
            return torch.stack(best).any(0).nonzero()[:, 0]
        rank = torch.arange(score.numel(), device=score.device) - torch.searchsorted(utterance, utterance)
        width = int(rank.max()) + 1
        if width <= count:
            return None
        kept = torch.zeros_like(utterance, dtype=torch.bool)
        for value in values:
            table = score.new_full((self.limit.numel(), width), -torch.inf)
            table.view(-1).index_copy_(0, utterance * width + rank, value)
            kept |= value >= table.topk(count, sorted=False).values.amin(1).index_select(0, utterance)
        return kept.nonzero()[:, 0]

    def emit(self, frame: int) -> None:
        """Add the emissions of the states of `frame`, pruned. On the last frame of its utterance a state has none."""
        self.states.append((self.state, torch.full_like(self.state[0], frame), self.score))
        (utterance, state), score = self.state, self.score
        source = torch.arange(self.num_states, self.num_states + score.numel(), device=score.device)
        self.num_states += score.numel()
        row, width = self.starts.index_select(0, utterance) + frame, self.token_scores.shape[1]
        columns = torch.stack([utterance, state, row, source])
        if frame in self.ends:
            running = (self.tables.lens[utterance] > frame).nonzero()[:, 0]
            columns, score = columns.index_select(1, running), score.index_select(0, running)
        score = self.token_scores.index_select(0, columns[2]) + score[:, None]
        kept = (score >= self.limit.index_select(0, columns[0])[:, None]).view(-1).nonzero()[:, 0]
        at = torch.div(kept, width, rounding_mode="floor")
        score = score.take(kept)
        keep = self._best(columns[0].index_select(0, at), columns[1].index_select(0, at), score, 2 * self.max_active)
        if keep is not None:
            kept, at, score = (x.index_select(0, keep) for x in (kept, at, score))
        utterance, state, row, source = columns.index_select(1, at)
        slot = row * width + (kept - at * width)
        token = self.labels.take(slot)
        no_blank = token.nonzero()[:, 0]
        token_lm_score, after = self.scorer.advance(state.index_select(0, no_blank), token.index_select(0, no_blank))
        state.index_copy_(0, no_blank, after)
        lm_score = torch.zeros_like(score).index_copy_(0, no_blank, token_lm_score)
        score += lm_score
        columns = torch.stack([utterance, state, row * self.span - frame, source, slot])
        keep = self._best(utterance, state, score, self.max_active)
        if keep is not None:
            columns, score, lm_score = columns.index_select(1, keep), score[keep], lm_score[keep]
        self.emissions.append((columns[3:], lm_score))
        self.emission_counts.append(score.numel())
        past = self.emission_counts[-1 - self.span] if len(self.emission_counts) > self.span else 0
        self.waiting = torch.cat([self.waiting[:, past:], columns[:3]], dim=1)
        self.waiting_score = torch.cat([self.waiting_score[past:], score])

    def result(self) -> Composition:
        """All states, emissions and arrivals."""
        (utterance, state), frame, score = (torch.cat(parts, dim=-1) for parts in zip(*self.states))
        (source, slot), lm_score = (torch.cat(parts, dim=-1) for parts in zip(*self.emissions))
        arrivals = self.arrivals or [(state[:0], state[:0], score[:0])]
        emission, target, arrival_score = (torch.cat(parts) for parts in zip(*arrivals))
        final = torch.where(frame == self.tables.lens[utterance], self.scorer.final(state), -torch.inf)
        counts = [part[0].numel() for part in self.arrivals]
        return Composition(
            utterance, state, frame, score, final, source, slot, lm_score, emission, target, arrival_score, counts
        )


def _push(tables: Tables) -> tuple[Tensor, Tensor, int]:
    """Scores relative to the best path of the lattice without LM.

    Returns:
      (N, W) float64 token scores; (N * M, 2) float64 scores, one row for each of the next 1 ... M frames, of arriving
      exactly there, -inf if no duration leads there, and of arriving there or later; and M, the longest duration.
    """
    lens, device = tables.lens, tables.lens.device
    batch, longest, rows = len(lens), int(lens.max()), len(tables.token_scores)
    utterance, time = torch.repeat_interleave(lens), tables.time
    distance = tables.arrival - time[:, None]
    span = int(distance.max()) if rows else 1
    token_scores = tables.token_scores.double()
    reach = token_scores.new_full((rows, span), -torch.inf)
    reach.scatter_reduce_(1, distance - 1, tables.duration_scores.double(), "amax")
    reach += token_scores.amax(1, keepdim=True)
    token_scores = token_scores - token_scores.amax(1, keepdim=True)

    step = token_scores.new_full((longest, span, batch), -torch.inf)
    step[:, 0] = 0.0  # frames beyond the end of an utterance
    step[time, :, utterance] = reach
    ahead = token_scores.new_zeros(longest + span, batch)  # score of the best path from a frame to the end
    for t in range(longest - 1, -1, -1):
        torch.amax(step[t] + ahead[t + 1 : t + 1 + span], 0, out=ahead[t])
    column = torch.arange(1, span + 1, device=device)
    here, there = ahead[time, utterance], ahead[time[:, None] + column, utterance[:, None]]
    reach = reach + there - here.clamp(min=_LOWEST)[:, None]
    reach = torch.stack([reach, reach.flip(1).cummax(1).values.flip(1)], dim=2)
    return token_scores, reach.view(-1, 2), span
