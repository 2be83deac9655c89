"""Beam search with the predictor, through an automaton, batched over utterances and hypotheses in tensor operations.

A hypothesis is at a frame t, has n tokens on it already, a text, and a state q of the automaton. It goes on by a token
v or blank, and a duration d:

    score + log P_T(v | t, text) + w log P_D(d | t, text) + automaton's score      at frame min(T, t + max(1, d))

A token of duration 0 stays on t, or moves to t + 1 if it is the `max_symbols`-th on the frame. At the last frame T the
final score of q is added.

**Order.** Because of durations, the hypotheses of an utterance are at different frames. Only those at the earliest
frame are extended, all at once. So everything that can arrive at (t, n) has arrived before (t, n) is left.

**Comparison.** The model is normalised locally: at every (frame, text) the probabilities of all tokens and durations
sum to one, so that the score of a hypothesis is the total log-probability of its continuations, whatever its frame.
Scores at different frames compare as they are. With `--guide nar` they compare by score + h(t), where h(t) is the score
of the best continuation by the encoder alone (hainan_k2.search.ar_guide). On dev of acted dialogue the guide changed
little: no less errors, at the same cost (recipes/amazon_queen/RESULTS.md).

**Merging.** Hypotheses with the same text, frame and state are one: their probabilities are added, and the times of the
more probable one are kept. With `--context-tokens n`, those whose last n tokens agree are then merged too: the better
one goes on, the other is dropped (an AR lattice keeps its arcs). For a stateless predictor, which sees no more, this is
exact.

Scores with hotwords have a part that may be taken back. Each utterance keeps its best hypotheses by scores with it and
its best by scores without; otherwise hypotheses with an unfinished phrase would displace all others.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.fsa.lattices.ar_lattice import ArArcs
from hainan_k2.model.hainan import Hainan
from hainan_k2.search.ar_automaton import Automaton
from hainan_k2.search.ar_columns import (
    COLUMNS,
    KEY,
    NODE,
    NUMBER,
    PLACE,
    PREDICTION,
    STATE,
    TEXT,
    TIME,
    TOKEN,
    merge,
)
from hainan_k2.search.ar_guide import best_ahead
from hainan_k2.search.ar_pool import Pool
from hainan_k2.search.ar_predictions import Predictions
from hainan_k2.search.ar_record import Recorder
from hainan_k2.search.ar_step import Extension
from hainan_k2.search.emissions import Frames
from hainan_k2.search.options import SearchConfig

_LATE = torch.iinfo(torch.int64).max


class ArSearch:
    """The hypotheses of a batch, K per utterance, best first. After `run` all are at the end of their utterance.

    columns: (COLUMNS, B, K) int64; score: (B, K) float64, -inf where there are fewer than K. trail: of every emitted
    token the index of the one before it, the token, its time, its duration, its log-probability and the graph's arc.
    offset: (B,) float64, what a score lacks: h(0) with a guide, else 0.
    """

    def __init__(
        self,
        model: Hainan,
        frames: Frames,
        options: SearchConfig,
        automaton: Automaton,
        record: bool = False,
        widen: int = 1,
    ) -> None:
        """frames: projected, (N, J); record: keep states and arcs for `lattice`; widen: factor of options.beam."""
        batch, device = len(frames.lens), frames.values.device
        self.beam = widen * options.beam
        ahead = best_ahead(model, frames, options) if options.guide == "nar" else None
        self.offset = torch.zeros(batch, dtype=torch.float64, device=device) if ahead is None else ahead[0]
        self.extension = Extension(model, frames, options, automaton, ahead, self.beam)
        self.predictions = Predictions(model, batch, device, frames.values.dtype)
        self.columns = torch.zeros((COLUMNS, batch, 1), dtype=torch.int64, device=device)
        self.columns[TIME, :, 0] = self.extension.symbols * self.extension.begins
        self.columns[NODE], self.columns[STATE] = -1, automaton.start
        self.columns[NUMBER, :, 0] = torch.arange(batch, device=device)
        self.score = torch.where(frames.lens[:, None] == 0, automaton.final(self.columns[STATE]), 0.0)
        self.trail: list[tuple[Tensor, ...]] = []
        self.trail_size = 0
        self.recorder = Recorder(self.columns) if record else None

    def run(self, before: int = _LATE) -> None:
        """Extend the hypotheses until all are at the end of their utterance, or not earlier than time `before`."""
        ends = self.extension.end_times.unsqueeze(1).clamp(max=before)
        while True:
            time = self.columns[TIME].masked_fill(self.score == -torch.inf, _LATE)
            first = time.amin(1, keepdim=True)  # where all are at the end, so is the first
            chosen = ((time == first) & (first < ends)).view(-1).nonzero()[:, 0]
            if not chosen.numel():
                return
            self._consume(chosen)
            source = self.columns.flatten(1).index_select(1, chosen)
            predicted = self.predictions.outputs(source[PREDICTION])
            score = self.score.view(-1).index_select(0, chosen)
            step = self.extension.step(score, source, predicted)
            self._prune(Pool(self.columns, self.score, chosen, step))

    def _consume(self, chosen: Tensor) -> None:
        """Show the predictor the last tokens of the hypotheses `chosen` (N,), also for others of the same texts."""
        flat = self.columns.view(COLUMNS, -1)
        fresh = chosen.masked_select(flat[TOKEN].index_select(0, chosen) != BLANK)
        if not fresh.numel():
            return
        if self.predictions.crowded(self.score.numel()):
            self.columns[PREDICTION] = self.predictions.keep(self.columns[PREDICTION])
        columns = flat.index_select(1, fresh)
        new = self.predictions.advance(columns[PREDICTION], columns[TOKEN])
        utterance = torch.div(fresh, self.score.shape[1], rounding_mode="floor")
        texts = self.columns[TEXT].index_select(0, utterance)
        which, column = (texts == columns[TEXT].unsqueeze(1)).nonzero().unbind(1)
        same = utterance.index_select(0, which) * self.score.shape[1] + column
        flat[PREDICTION].index_copy_(0, same, new.index_select(0, which))
        flat[TOKEN].index_fill_(0, same, BLANK)

    def _prune(self, pool: Pool) -> None:
        """Merge the hypotheses of the pool, and keep the best."""
        score, _ = merge(pool.score, pool.column(KEY), add=True)
        if self.extension.context:
            score, _ = merge(score, pool.column(PLACE), add=False)
        best, at = self._best(score, pool)
        source = pool.source(at)
        self.columns, self.score = pool.columns(source), best
        self._emit(pool, source)
        if self.recorder is not None:
            self.recorder.add(pool, score, torch.where(best > -torch.inf, at, -1), self.columns)

    def _best(self, score: Tensor, pool: Pool) -> tuple[Tensor, Tensor]:
        """The scores (B, K) of the hypotheses to keep, best first, and their places in the pool."""
        beam = self.beam
        if self.extension.automaton.refunds and score.shape[1] > beam:
            certain = score - self.extension.automaton.refundable(pool.column(STATE))
            kept = [value >= value.topk(beam).values[:, -1:] for value in (score, certain)]
            score, beam = score.masked_fill(~(kept[0] | kept[1]), -torch.inf), 2 * beam
        best, at = score.sort(dim=1, descending=True, stable=True)
        width = min(beam, max(1, int((best > -torch.inf).sum(1).max())))
        return best[:, :width].contiguous(), at[:, :width].contiguous()

    def _emit(self, pool: Pool, source: Tensor) -> None:
        """Add to the trail the tokens that the kept continuations, `source` (B, K), have emitted."""
        flat, step = self.columns.view(COLUMNS, -1), pool.step
        source = source.view(-1)
        new = (source < pool.step.score.numel()) & (flat[TOKEN] != BLANK) & (self.score.view(-1) > -torch.inf)
        new = new.nonzero()[:, 0]
        if not new.numel():
            return
        source = source.index_select(0, new)
        durations = step.duration.shape[1]
        choice = torch.div(source, durations, rounding_mode="floor")
        row = torch.div(choice, step.log_prob.shape[1], rounding_mode="floor")
        node, token = flat[NODE].index_select(0, new), flat[TOKEN].index_select(0, new)
        duration = step.duration.take(row * durations + source % durations)
        arc = step.choices.arc.take(choice - row - 1)  # blank has none
        time = step.source[TIME].index_select(0, row)
        self.trail.append((node, token, time, duration, step.log_prob.take(choice), arc))
        number = torch.arange(self.trail_size, self.trail_size + len(new), device=new.device)
        self.trail_size += len(new)
        flat[NODE].index_copy_(0, new, number)

    def lattice(self) -> ArArcs:
        """The states and arcs of the lattice, of a search that recorded them."""
        assert self.recorder is not None
        return self.recorder.result(self.extension)
