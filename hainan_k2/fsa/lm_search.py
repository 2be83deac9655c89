"""Composition of NAR lattices with language models, pruned while it goes, for a whole batch: torch only.

A state of the composition is a frame t and a state of the LM. Of the lattice of hainan_k2.fsa.nar_lattice only the
states "at frame t" remain; a token and a duration are one arc:

    (t, q) --- v : log P_T(v | t) + w log P_D(d | t) + LM(v | q) ---> (min(T, t + max(1, d)), q after v)
    (T, q) --- -1 : LM(</s> | q) ---> (final)

The blank moves no LM. Hypotheses that come to the same frame and LM state are one from there on; all arcs into
the state are kept. The search goes from frame to frame. What is said at t waits until the frame it lands on, the
longest duration away at most.

**Pruning.** Scores compare across frames once the lattice's own best continuation, h(t), is added to them: a table
of T numbers made beforehand from the back (pushing the weights, in FSA terms). So at frame t an utterance's
hypotheses that land there compete also with those that jump over it, and frames that only bad paths visit cost
nothing. What is `beam` worse than the best is dropped, and of what remains at a frame `max_active` states stay.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from hainan_k2.fsa.nar_lattice import Tables

warnings.filterwarnings("ignore", "scatter_reduce", UserWarning)  # beta in torch 1.13, the same in all later ones

_LOWEST = torch.finfo(torch.float64).min
_ROUNDING = 1e-9


class Scorer(Protocol):
    """A deterministic automaton over tokens: NgramLm, HotwordGraph and the like."""

    start: int
    num_states: int

    def advance(self, states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and next states (N,) of tokens (N,) in states (N,)."""

    def final(self, states: Tensor) -> Tensor:
        """Scores (N,) of the end."""


class WeightedScorers:
    """sum_i weight_i x scorer_i; a state is all their states as one number, in mixed radix.

    A scorer of weight 0 is left out. Where one of negative weight scores -inf nothing is subtracted.
    """

    def __init__(self, scorers: Sequence[tuple[Scorer, float]], device: torch.device):
        self.scorers = [(scorer.to(device), weight) for scorer, weight in scorers if weight]
        self.start, self.num_states = 0, 1
        for scorer, _ in self.scorers:
            self.start = self.start * scorer.num_states + scorer.start
            self.num_states *= scorer.num_states

    def advance(self, states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        total, after, radix = torch.zeros_like(states, dtype=torch.float64), torch.zeros_like(states), 1
        for scorer, weight, state in self._split(states):
            score, state = scorer.advance(state, tokens)
            total += _weigh(score, weight)
            after += state * radix
            radix *= scorer.num_states
        return total, after

    def final(self, states: Tensor) -> Tensor:
        total = torch.zeros_like(states, dtype=torch.float64)
        for scorer, weight, state in self._split(states):
            total += _weigh(scorer.final(state), weight)
        return total

    def _split(self, states: Tensor) -> Iterator[tuple[Scorer, float, Tensor]]:
        for scorer, weight in reversed(self.scorers):
            yield scorer, weight, states % scorer.num_states
            states = torch.div(states, scorer.num_states, rounding_mode="floor")


def _weigh(score: Tensor, weight: float) -> Tensor:
    score = weight * score.double()
    return score if weight > 0 else score.masked_fill(score == torch.inf, 0.0)  # weight x -inf


@dataclass(frozen=True)
class Composition:
    """S states in order of frames, the B starts first; K tokens said in them; A landings of these, in order of frames.

    A landing stands for all durations that lead there. Scores are float64 and pushed: 0 all along the lattice's own
    best path.
    """

    utterance: Tensor  # (S,)
    frame: Tensor  # (S,)
    score: Tensor  # (S,): of the best way from the start
    final: Tensor  # (S,): of the end, -inf where that is not now
    source: Tensor  # (K,): the state it was said in
    place: Tensor  # (K,): which of Tables.labels, flat
    lm_score: Tensor  # (K,)
    said: Tensor  # (A,): which of the K
    target: Tensor  # (A,): the state it leads to
    landed: Tensor  # (A,): score of the best way from the start that ends with it
    counts: list[int]  # landings by frame


@torch.no_grad()
def compose(tables: Tables, scorer: WeightedScorers, beam: float, max_active: int) -> Composition:
    """The search. What it found may hold states from which no way leads to the end."""
    search = _Search(tables, scorer, beam, max_active)
    for frame in range(int(tables.lens.max()) + 1):
        if frame:
            search.land(frame)
        search.say(frame)
    return search.result()


@torch.no_grad()
def survivors(found: Composition, beam: float) -> tuple[Tensor, Tensor]:
    """Landings (A,) bool and final states (S,) bool on a path to the end that is at most `beam` worse than the best."""
    ahead, end = found.final.clone(), len(found.said)
    source = found.source[found.said]
    step = found.landed - found.score[source]
    for count in reversed(found.counts):
        arcs = slice(end - count, end)
        ahead.scatter_reduce_(0, source[arcs], step[arcs] + ahead[found.target[arcs]], "amax")
        end -= count
    best = ahead[: int((found.frame == 0).sum())]
    limit = (best - beam - _ROUNDING).clamp(min=_LOWEST)[found.utterance]
    return found.landed + ahead[found.target] >= limit[source], found.score + found.final >= limit


class _Search:
    """What `compose` knows between frames."""

    def __init__(self, tables: Tables, scorer: WeightedScorers, beam: float, max_active: int):
        self.tables, self.scorer, self.beam, self.max_active = tables, scorer, beam, max_active
        self.tokens, self.reach, self.span = _push(tables)
        self.labels = tables.labels.contiguous()
        self.starts, self.ends = tables.starts, set(tables.lens.tolist())
        batch, device = len(tables.lens), tables.lens.device
        # The states at the frame, in order of utterances and LM states.
        self.utterance = torch.arange(batch, device=device)
        self.state = torch.full_like(self.utterance, scorer.start)
        self.score = torch.zeros_like(self.utterance, dtype=torch.float64)
        self.limit = torch.full_like(self.score, max(-beam, _LOWEST))
        # What has been said and may still land: utterance, LM state, score and where `reach` has its landings.
        self.waiting = (self.utterance[:0], self.state[:0], self.score[:0], self.state[:0])
        self.waiting_counts = []
        self.num_states, self.num_said = 0, 0
        self.states, self.said, self.landings = [], [], []

    def land(self, frame: int) -> None:
        """The states at `frame`: what lands there, recombined and pruned."""
        utterance, state, score, place = self.waiting
        landing, ahead = (self.reach.index_select(0, place + (frame - 1)) + score[:, None]).unbind(1)
        best = torch.full_like(self.limit, -torch.inf).scatter_reduce_(0, utterance, ahead, "amax")
        self.limit = (best - self.beam).clamp_(min=_LOWEST)
        rows = (landing >= self.limit.index_select(0, utterance)).nonzero()[:, 0]
        utterance, state, landing = (x.index_select(0, rows) for x in (utterance, state, landing))
        key, order = (utterance * self.scorer.num_states + state).sort(stable=True)
        landing, rows = landing.index_select(0, order), rows.index_select(0, order)
        new = torch.ones_like(key, dtype=torch.bool)
        torch.ne(key[1:], key[:-1], out=new[1:])
        target, first = new.cumsum(0) - 1, order.index_select(0, new.nonzero()[:, 0])
        best = torch.full_like(landing[: len(first)], -torch.inf).scatter_reduce_(0, target, landing, "amax")
        found = utterance.index_select(0, first), state.index_select(0, first), best
        keep = self._most_active(found[0], best)
        if keep is not None:
            found = tuple(x.index_select(0, keep) for x in found)
            number = torch.full_like(first, -1).index_copy_(0, keep, torch.arange(len(keep), device=keep.device))
            target = number.index_select(0, target)
            kept = (target >= 0).nonzero()[:, 0]
            rows, target, landing = (x.index_select(0, kept) for x in (rows, target, landing))
        self.utterance, self.state, self.score = found
        self.landings.append((rows + (self.num_said - len(score)), target + self.num_states, landing))

    def _most_active(self, utterance: Tensor, score: Tensor) -> Tensor | None:
        """Rows, of rows (R,) in order of utterances, that are not worse than their utterance's `max_active`-th best;
        None for all of them."""
        if len(score) <= self.max_active:
            return None
        rank = torch.arange(len(score), device=score.device) - torch.searchsorted(utterance, utterance)
        width = int(rank.max()) + 1
        if width <= self.max_active:
            return None
        table = score.new_full((len(self.limit), width), -torch.inf)
        table.view(-1).index_copy_(0, utterance * width + rank, score)
        worst = table.topk(self.max_active, sorted=False).values.amin(1)
        return (score >= worst.index_select(0, utterance)).nonzero()[:, 0]

    def say(self, frame: int) -> None:
        """All that the states say at `frame`, pruned; where the utterance ends they say nothing."""
        self.states.append((self.utterance, torch.full_like(self.utterance, frame), self.state, self.score))
        source = torch.arange(self.num_states, self.num_states + len(self.state), device=self.state.device)
        self.num_states += len(self.state)
        utterance, state, score = self.utterance, self.state, self.score
        if frame in self.ends:
            running = (self.tables.lens[utterance] > frame).nonzero()[:, 0]
            source, utterance, state, score = (x[running] for x in (source, utterance, state, score))
        row = self.starts.index_select(0, utterance) + frame
        score = self.tokens.index_select(0, row) + score[:, None]
        place = (score >= self.limit.index_select(0, utterance)[:, None]).view(-1).nonzero()[:, 0]
        at = torch.div(place, self.tokens.shape[1], rounding_mode="floor")
        score = score.take(place)
        place = place + ((row - torch.arange(len(row), device=row.device)) * self.tokens.shape[1]).index_select(0, at)
        utterance, state, row, source = (x.index_select(0, at) for x in (utterance, state, row, source))
        token = self.labels.take(place)
        spoken = token.nonzero()[:, 0]
        paid, after = self.scorer.advance(state.index_select(0, spoken), token.index_select(0, spoken))
        state = state.index_copy(0, spoken, after)
        lm_score = torch.zeros_like(score).index_copy_(0, spoken, paid)
        score = score + lm_score
        keep = self._most_active(utterance, score)
        if keep is not None:
            utterance, state, row, source, place, lm_score, score = (
                x.index_select(0, keep) for x in (utterance, state, row, source, place, lm_score, score)
            )
        self.said.append((source, place, lm_score))
        self.num_said += len(source)
        self.waiting_counts.append(len(source))
        past = self.waiting_counts[-1 - self.span] if len(self.waiting_counts) > self.span else 0
        waiting = utterance, state, score, row * self.span - frame
        self.waiting = tuple(torch.cat([a[past:], b]) for a, b in zip(self.waiting, waiting))

    def result(self) -> Composition:
        """All that was found."""
        none = self.state[:0], self.state[:0], self.score[:0]
        utterance, frame, state, score = map(torch.cat, zip(*self.states))
        source, place, lm_score = map(torch.cat, zip(*self.said))
        said, target, landed = map(torch.cat, zip(*(self.landings or [none])))
        end = self.scorer.final(state)
        final = torch.where(frame == self.tables.lens[utterance], end, -torch.inf)
        counts = [len(x[0]) for x in self.landings]
        return Composition(utterance, frame, score, final, source, place, lm_score, said, target, landed, counts)


def _push(tables: Tables) -> tuple[Tensor, Tensor, int]:
    """Scores relative to the lattice's own best: of tokens (N, W), and of what they lead to.

    Returns:
      (N, W) float64; (N * M, 2) float64, of landing just 1 ... M frames on, -inf where no duration does, and of
      landing that far on or farther; and M, the longest duration.
    """
    lens, device = tables.lens, tables.lens.device
    batch, longest, rows = len(lens), int(lens.max()), len(tables.tokens)
    utterance, time = torch.repeat_interleave(lens), tables.time
    distance = tables.landing - time[:, None]
    span = int(distance.max()) if rows else 1
    tokens = tables.tokens.double()
    reach = tokens.new_full((rows, span), -torch.inf)
    reach.scatter_reduce_(1, distance - 1, tables.spoken.double(), "amax")
    reach += tokens.amax(1, keepdim=True)
    tokens = tokens - tokens.amax(1, keepdim=True)

    step = tokens.new_full((longest, span, batch), -torch.inf)
    step[:, 0] = 0.0  # behind an utterance nothing costs anything
    step[time, :, utterance] = reach
    ahead = tokens.new_zeros(longest + span, batch)  # of the best way from a frame to the end
    for t in range(longest - 1, -1, -1):
        torch.amax(step[t] + ahead[t + 1 : t + 1 + span], 0, out=ahead[t])
    column = torch.arange(1, span + 1, device=device)
    here, there = ahead[time, utterance], ahead[time[:, None] + column, utterance[:, None]]
    reach = reach + there - here.clamp(min=_LOWEST)[:, None]
    reach = torch.stack([reach, reach.flip(1).cummax(1).values.flip(1)], dim=2)
    return tokens, reach.view(-1, 2), span
