"""Greedy search of an utterance whose frames come piece by piece. What it has said stays said."""

from __future__ import annotations

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.result import Token
from hainan_k2.search.greedy import Decision
from hainan_k2.search.options import SearchConfig


class StreamingGreedy:
    """ar-greedy, or nar-greedy if not `autoregressive`: the tokens of all pieces are those of the whole.

    Between pieces it keeps the predictor's state, the tokens said on the frame it stands at, and how far the last
    duration leads into the next piece. `copy.copy` of it searches on without changing the original.
    """

    def __init__(self, model, options: SearchConfig, autoregressive: bool = True):
        weight = next(model.parameters())
        self.model, self.autoregressive = model, autoregressive
        self.max_symbols = options.max_symbols if autoregressive else 1  # the NAR walk says one token on a frame
        self.durations = torch.tensor(model.durations, device=weight.device)
        self.heard = 0  # frames that have come
        self.time = 0  # the frame it stands at
        self.count = 0  # tokens said on it
        self.state, self.predicted = None, None
        if autoregressive:
            self.state = model.predictor.initial_state(1, weight.device, weight.dtype)
            self._advance(BLANK)

    @torch.no_grad()
    def _advance(self, token: int) -> None:
        out, self.state = self.model.predictor.step(torch.tensor([token], device=self.durations.device), self.state)
        self.predicted = self.model.joiner.project_predictor(out)

    @torch.no_grad()
    def accept(self, encoder_out: Tensor) -> list[Token]:
        """The tokens on the next frames, encoder_out (T, C); their frames count from the beginning of the utterance."""
        projected = self.model.joiner.project_encoder(encoder_out)
        begin, self.heard = self.heard, self.heard + len(projected)
        found = []
        while self.time < self.heard:
            logits = self.model.joiner.logits(projected[self.time - begin][None], self.predicted)
            best = Decision(logits, self.model.vocab_size, self.durations)
            token, duration = int(best.token), int(best.duration)
            full = duration == 0 and self.count + 1 >= self.max_symbols
            moved = max(1, duration) if token == BLANK or full else duration
            if token != BLANK:
                found.append(Token(token, self.time, duration, float(best.token_log_prob.exp())))
                if self.autoregressive:
                    self._advance(token)
            self.time += moved
            self.count = 0 if moved else self.count + 1
        return found
