"""Composition of NAR lattices with language models, pruned while it goes, for a whole batch: torch only.

A state of the composition is a frame t and a state of the LM. Of the lattice of nar_lattice only the
states "at frame t" remain; a token and a duration are one arc:

    (t, q) --- v : log P_T(v | t) + w log P_D(d | t) + LM(v | q) ---> (min(T, t + max(1, d)), q after v)
    (T, q) --- -1 : LM(</s> | q) ---> (final)

The blank moves no LM. Hypotheses that come to the same frame and LM state are one from there on; all arcs into
the state are kept. The search goes from frame to frame. What is said at t waits until the frame it lands on, the
longest duration away at most.

**Pruning.** Scores compare across frames once the lattice's own best continuation, h(t), is added to them: a table
of T numbers made beforehand from the back (pushing the weights, in FSA terms). So at frame t an utterance's
hypotheses that land there compete also with those that jump over it, and frames that only bad paths visit cost
nothing. What is `beam` worse than the best is dropped. Of what remains at a frame `max_active` states stay, of what
they say the best 2 x `max_active` are shown to the LM, and the best `max_active` of these stay.

Hotwords credit a phrase before it is finished and take that back if it never is, so a score is between two values:
with all its credit, and with none. Only what is `beam` worse with it than the best without is dropped, and the best
`max_active` by either value stay. Scores with credit alone would let hypotheses with an unfinished phrase displace all
others; these then emit blanks to the end of the utterance, because any other token costs them the credit.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from hainan_k2.fsa.language.scorers import WeightedScorers
from hainan_k2.fsa.lattices.nar_lattice import Tables

# torch 1.13 says at the first call in a process, and then no more, that this is beta; it is the same in all later ones.
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "scatter_reduce", UserWarning)
    torch.zeros(1).scatter_reduce_(0, torch.zeros(1, dtype=torch.int64), torch.zeros(1), "amax")

_LOWEST = torch.finfo(torch.float64).min
_ROUNDING = 1e-9


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
def compose_pruned(tables: Tables, scorer: WeightedScorers, beam: float, max_active: int) -> Composition:
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
    """What `compose_pruned` knows between frames. Whole numbers that go together are the rows of one tensor."""

    def __init__(self, tables: Tables, scorer: WeightedScorers, beam: float, max_active: int):
        self.tables, self.scorer, self.beam, self.max_active = tables, scorer, beam, max_active
        self.tokens, self.reach, self.span = _push(tables)
        self.labels = tables.labels.contiguous()
        self.starts, self.ends = tables.starts, set(tables.lens.tolist())
        batch, device = len(tables.lens), tables.lens.device
        # The states at the frame, in order of utterances and LM states: utterance, LM state; score.
        utterance = torch.arange(batch, device=device)
        self.state = torch.stack([utterance, torch.full_like(utterance, scorer.start)])
        self.score = torch.zeros_like(utterance, dtype=torch.float64)
        self.limit = torch.full_like(self.score, max(-beam, _LOWEST))
        # What has been said and may still land: utterance, LM state, where `reach` has its landings; score.
        self.waiting, self.waiting_score = utterance.new_empty((3, 0)), self.score[:0]
        self.num_states, self.said_counts = 0, [0]
        self.states, self.said, self.landings = [], [], []

    def land(self, frame: int) -> None:
        """The states at `frame`: what lands there, recombined and pruned."""
        utterance, state, place = self.waiting
        landing, ahead = (self.reach.index_select(0, place + (frame - 1)) + self.waiting_score[:, None]).unbind(1)
        certain = self._values(state, ahead)[-1]
        best = torch.full_like(self.limit, -torch.inf).scatter_reduce_(0, utterance, certain, "amax")
        self.limit = (best - self.beam).clamp_(min=_LOWEST)
        rows = (landing >= self.limit.index_select(0, utterance)).nonzero()[:, 0]
        utterance, state, _ = self.waiting.index_select(1, rows)
        key, order = (utterance * self.scorer.num_states + state).sort(stable=True)
        rows = rows.index_select(0, order)
        landing = landing.index_select(0, rows)
        new = torch.ones_like(key, dtype=torch.bool)
        torch.ne(key[1:], key[:-1], out=new[1:])
        target, first = new.cumsum(0) - 1, rows.index_select(0, new.nonzero()[:, 0])
        self.state = self.waiting[:2].index_select(1, first)
        self.score = landing.new_full(first.shape, -torch.inf).scatter_reduce_(0, target, landing, "amax")
        keep = self._best(*self.state, self.score, self.max_active)
        if keep is not None:
            self.state, self.score = self.state.index_select(1, keep), self.score.index_select(0, keep)
            number = torch.full_like(first, -1).index_copy_(0, keep, torch.arange(keep.numel(), device=keep.device))
            target = number.index_select(0, target)
            kept = (target >= 0).nonzero()[:, 0]
            rows, target, landing = (x.index_select(0, kept) for x in (rows, target, landing))
        before = sum(self.said_counts) - place.numel()
        self.landings.append((rows + before, target + self.num_states, landing))

    def _values(self, state: Tensor, score: Tensor) -> list[Tensor]:
        """Scores (R,) of hypotheses in LM states (R,): with what may be taken back, and, where that is not the same,
        without."""
        return [score, score - self.scorer.refundable(state)] if self.scorer.refunds else [score]

    def _best(self, utterance: Tensor, state: Tensor, score: Tensor, count: int) -> Tensor | None:
        """Rows, of (R,) in order of utterances, not worse by one of their values than their utterance's `count`-th
        best; None for all."""
        if score.numel() <= count:
            return None
        values = self._values(state, score)
        if self.limit.numel() == 1:  # all of one utterance
            kept = [value >= value.topk(count, sorted=False).values.amin() for value in values]
            return torch.stack(kept).any(0).nonzero()[:, 0]
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

    def say(self, frame: int) -> None:
        """All that the states say at `frame`, pruned; where the utterance ends they say nothing."""
        self.states.append((self.state, torch.full_like(self.state[0], frame), self.score))
        (utterance, state), score = self.state, self.score
        source = torch.arange(self.num_states, self.num_states + score.numel(), device=score.device)
        self.num_states += score.numel()
        row, width = self.starts.index_select(0, utterance) + frame, self.tokens.shape[1]
        columns = torch.stack([utterance, state, row, source])
        if frame in self.ends:
            running = (self.tables.lens[utterance] > frame).nonzero()[:, 0]
            columns, score = columns.index_select(1, running), score.index_select(0, running)
        score = self.tokens.index_select(0, columns[2]) + score[:, None]
        kept = (score >= self.limit.index_select(0, columns[0])[:, None]).view(-1).nonzero()[:, 0]
        at = torch.div(kept, width, rounding_mode="floor")
        score = score.take(kept)
        keep = self._best(*columns[:2].index_select(1, at), score, 2 * self.max_active)
        if keep is not None:
            kept, at, score = (x.index_select(0, keep) for x in (kept, at, score))
        utterance, state, row, source = columns.index_select(1, at)
        place = row * width + (kept - at * width)
        token = self.labels.take(place)
        spoken = token.nonzero()[:, 0]
        paid, after = self.scorer.advance(state.index_select(0, spoken), token.index_select(0, spoken))
        state.index_copy_(0, spoken, after)
        lm_score = torch.zeros_like(score).index_copy_(0, spoken, paid)
        score += lm_score
        columns = torch.stack([utterance, state, row * self.span - frame, source, place])
        keep = self._best(utterance, state, score, self.max_active)
        if keep is not None:
            columns, score, lm_score = columns.index_select(1, keep), score[keep], lm_score[keep]
        self.said.append((columns[3:], lm_score))
        self.said_counts.append(score.numel())
        past = self.said_counts[-1 - self.span] if len(self.said_counts) > self.span else 0
        self.waiting = torch.cat([self.waiting[:, past:], columns[:3]], dim=1)
        self.waiting_score = torch.cat([self.waiting_score[past:], score])

    def result(self) -> Composition:
        """All that was found."""
        (utterance, state), frame, score = (torch.cat(parts, dim=-1) for parts in zip(*self.states))
        (source, place), lm_score = (torch.cat(parts, dim=-1) for parts in zip(*self.said))
        said, target, landed = map(torch.cat, zip(*(self.landings or [(state[:0], state[:0], score[:0])])))
        final = torch.where(frame == self.tables.lens[utterance], self.scorer.final(state), -torch.inf)
        counts = [part[0].numel() for part in self.landings]
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
