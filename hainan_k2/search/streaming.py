"""Greedy search of a stream: encoder frames arrive in pieces, and the tokens of a piece never change later."""

from __future__ import annotations

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Token
from hainan_k2.search.emissions import Decision
from hainan_k2.search.options import SearchConfig


class StreamingGreedy:
    """ar-greedy, or nar-greedy if not `autoregressive`: all pieces together have the tokens of the whole utterance.

    Between pieces it keeps the predictor's state, the frame that comes next, which may lie within the next piece
    because of the last duration, and the number of tokens on it. A `copy.copy` can search further frames without
    changing the original.
    """

    def __init__(self, model: Hainan, options: SearchConfig, autoregressive: bool = True) -> None:
        weight = model.joiner.enc.weight
        self.model, self.autoregressive = model, autoregressive
        self.max_symbols = options.max_symbols if autoregressive else 1  # NAR: one token per frame
        self.durations = torch.tensor(model.durations, device=weight.device)
        self.num_frames = 0  # frames accepted so far
        self.time = 0  # the next frame
        self.count = 0  # tokens emitted on it
        self.predicted: Tensor | None = None  # projected predictor output (1, J); None: non-autoregressive
        if autoregressive:
            self.state = model.predictor.initial_state(1, weight.device, weight.dtype)
            self._advance(BLANK)

    @torch.no_grad()
    def _advance(self, token: int) -> None:
        out, self.state = self.model.predictor.step(torch.tensor([token], device=self.durations.device), self.state)
        self.predicted = self.model.joiner.project_predictor(out)

    @torch.no_grad()
    def accept(self, encoder_out: Tensor) -> list[Token]:
        """The tokens on the next frames, encoder_out (T, C). Token.frame counts from the beginning of the stream."""
        projected = self.model.joiner.project_encoder(encoder_out)
        begin, self.num_frames = self.num_frames, self.num_frames + len(projected)
        tokens = []
        while self.time < self.num_frames:
            logits = self.model.joiner.logits(projected[self.time - begin][None], self.predicted)
            best = Decision(logits, self.model.vocab_size, self.durations)
            token, duration = int(best.token), int(best.duration)
            full = duration == 0 and self.count + 1 >= self.max_symbols
            moved = max(1, duration) if token == BLANK or full else duration
            if token != BLANK:
                tokens.append(Token(token, self.time, duration, float(best.token_log_prob.exp())))
                if self.autoregressive:
                    self._advance(token)
            self.time += moved
            self.count = 0 if moved else self.count + 1
        return tokens
