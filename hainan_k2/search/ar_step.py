"""One step of an autoregressive search: hypotheses continued by tokens, blank and durations, with scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import torch
from torch import Tensor
from torch.nn.functional import pad

from hainan_k2.config import BLANK
from hainan_k2.model.hainan import Hainan
from hainan_k2.model.predictor import LstmPredictor
from hainan_k2.search.ar_automaton import Automaton, Choices
from hainan_k2.search.ar_columns import (
    CONTEXT,
    NODE,
    NUMBER,
    PREDICTION,
    STATE,
    TEXT,
    TIME,
    key_of,
    longer_text,
)
from hainan_k2.search.emissions import Frames
from hainan_k2.search.options import SearchConfig

_UNKNOWN = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class Step:
    """The continuations of N hypotheses by S = 1 + W choices, blank and W tokens, with E durations each."""

    source: Tensor  # (COLUMNS, N) the hypotheses
    choices: Choices  # (N, W)
    log_prob: Tensor  # (N, S) of blank and tokens
    duration: Tensor  # (N, E) frames
    model_score: Tensor  # (N, S, E) float64: log-probabilities, penalties and bonus
    lm_score: Optional[Tensor]  # (N, S) float64: scores of the automaton's arcs, None without an automaton
    columns: Tensor  # (COLUMNS, N, S * E) of the continuations
    score: Tensor  # (N, S * E) float64


class Extension:
    """Makes the steps: what stays the same during a search.

    begins, ends: (B,) the first row of every utterance, and the row behind its last frame.
    """

    def __init__(
        self,
        model: Hainan,
        frames: Frames,
        options: SearchConfig,
        automaton: Automaton,
        ahead: Optional[Tensor],
        beam: int,
    ) -> None:
        """frames: projected, (N, J); ahead: (T + 1, B) from best_ahead, None for no guide; beam: tokens tried, W."""
        self.model, self.options, self.automaton, self.beam = model, options, automaton, beam
        device = frames.values.device
        self.begins = frames.starts + torch.arange(len(frames.lens), device=device)
        self.ends = self.begins + frames.lens
        utterance = frames.utterance()
        rows = torch.arange(len(utterance), device=device) + utterance
        self.num_rows = len(rows) + len(frames.lens)
        self.first_row = 0  # that of hidden[0]
        self.hidden = frames.values.new_zeros(self.num_rows, frames.values.shape[1]).index_copy_(0, rows, frames.values)
        owner = torch.repeat_interleave(frames.lens + 1, output_size=self.num_rows)
        self.symbols = options.max_symbols
        self.end_times = self.symbols * self.ends
        self.end_of_row = self.end_times[owner]
        self.ahead: Optional[Tensor] = None
        if ahead is not None:
            self.ahead = ahead[torch.arange(self.num_rows, device=device) - self.begins[owner], owner]
        self.durations = torch.tensor(model.durations, device=device)
        self.moves = self.symbols * torch.stack([self.durations.clamp(min=1), self.durations])  # (2, D) blank, token
        self.context, self.token_bits = context_of(model, options)

    def replace_rows(self, first_row: int, hidden: Tensor, end: Optional[int]) -> None:
        """Of the one utterance of a stream: take `hidden` (N, J) as its rows from `first_row` on.

        end: the row behind its last frame; None if it is not known, and beyond the reach of all steps.
        """
        self.first_row, self.hidden = first_row, hidden
        self.end_times = self.ends.new_full((1,), _UNKNOWN if end is None else self.symbols * end)
        self.end_of_row = self.end_times.expand(len(hidden))

    def step(self, score: Tensor, source: Tensor, predicted: Tensor) -> Step:
        """The continuations of hypotheses: their scores (N,), columns (COLUMNS, N), predictor outputs (N, J)."""
        options, row = self.options, torch.div(source[TIME], self.symbols, rounding_mode="floor")
        stored = row - self.first_row if self.first_row else row
        tokens, durations = self.model.joiner.log_probs(self.hidden.index_select(0, stored), predicted)
        choices = self.automaton.choose(tokens, source[STATE], self.beam)
        log_prob = torch.cat([tokens[:, :1], choices.log_prob], dim=1)
        duration_log_prob, index = durations.topk(min(options.beam_durations, len(self.durations)))
        token_score = log_prob.double()
        if options.blank_penalty or options.token_bonus:
            token_score += self._prior(log_prob)
        duration_score = duration_log_prob.double()
        if options.duration_scale != 1.0:
            duration_score *= options.duration_scale
        model_score = token_score.unsqueeze(2) + duration_score.unsqueeze(1)

        end = self.end_of_row.index_select(0, stored).view(-1, 1, 1)
        begin, time = (self.symbols * row).view(-1, 1, 1), source[TIME].view(-1, 1, 1)
        landing = torch.minimum(begin + self._moved(time - begin, index, log_prob.shape[1]), end)
        state = torch.cat([source[STATE].unsqueeze(1), choices.state], dim=1)
        total, lm_score = score.view(-1, 1, 1) + model_score, None
        if not self.automaton.trivial:
            lm_score = pad(choices.lm_score, (1, 0))
            final = lm_score + self.automaton.final(state)
            total = total + torch.where(landing == end, final.unsqueeze(2), lm_score.unsqueeze(2))
        if self.ahead is not None:
            arrived = self.ahead.take(torch.div(landing, self.symbols, rounding_mode="floor"))
            total += arrived - self.ahead.index_select(0, row).view(-1, 1, 1)
        columns = self._columns(source, choices.token, landing, state)
        duration = self.durations.take(index)
        return Step(source, choices, log_prob, duration, model_score, lm_score, columns, total.flatten(1))

    def _prior(self, log_prob: Tensor) -> Tensor:
        """(1, S) float64: minus the blank's penalty, and the bonus of every token."""
        prior = log_prob.new_full((1, log_prob.shape[1]), self.options.token_bonus, dtype=torch.float64)
        prior[:, 0] = -self.options.blank_penalty
        return prior

    def _moved(self, count: Tensor, index: Tensor, choices: int) -> Tensor:
        """(N, S, E) from the beginning of their row, the times that continuations lead to.

        A token of duration 0 is one more token on the frame; `max_symbols` of them are the next row. count: (N, 1, 1)
        tokens on the frame; index: (N, E) of the durations.
        """
        blank, token = self.moves.index_select(1, index.view(-1)).view(2, len(index), 1, -1).unbind(0)
        if self.model.durations[0] == 0:
            token = torch.where(token == 0, count + 1, token)
        return torch.cat([blank, token.expand(-1, choices - 1, -1)], dim=1)

    def _columns(self, source: Tensor, token: Tensor, time: Tensor, state: Tensor) -> Tensor:
        """(COLUMNS, N, S * E) of the continuations, in the order of ar_columns."""
        old = source.unsqueeze(2)  # (COLUMNS, N, 1)
        text = torch.cat([old[TEXT], longer_text(old[TEXT], token)], dim=1)
        key = place = key_of(text, state, time)
        context = text
        if self.context:
            shifted = (old[CONTEXT] << self.token_bits | token) & ((1 << self.token_bits * self.context) - 1)
            context = torch.cat([old[CONTEXT], shifted], dim=1)
            place = key_of(context, state, time)
        by_choice = torch.stack([text, context, state, pad(token, (1, 0), value=BLANK)]).unsqueeze(3)
        text, context, state, new = by_choice.expand(-1, -1, -1, time.shape[2]).unbind(0)
        node, prediction, number = old[[NODE, PREDICTION, NUMBER]].unsqueeze(3).expand(-1, *time.shape).unbind(0)
        columns = (time, text, context, state, node, prediction, new, key, place, number)
        return torch.stack(columns).flatten(2)


def context_of(model: Hainan, options: SearchConfig) -> tuple[int, int]:
    """How many last tokens make two texts the same, 0 for all, and the bits of a token when they are packed.

    A stateless predictor's own context is the least. ValueError where they do not fit into 63 bits.
    """
    if not options.context_tokens:
        return 0, 0
    own = 1 if isinstance(model.predictor, LstmPredictor) else model.predictor.context
    context, bits = max(options.context_tokens, own), (model.vocab_size - 1).bit_length()
    if context * bits > 63:
        raise ValueError(f"context_tokens {context}: the search compares at most {63 // bits} tokens, or all with 0")
    return context, bits
