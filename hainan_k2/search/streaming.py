"""Searches of streams: encoder frames arrive in pieces, and tokens that are final never change later.

`Stream` is what a search of a stream does. ar-greedy and nar-greedy decide every token at once: here. ar-beam keeps
several hypotheses (hainan_k2.search.ar_stream).
"""

from __future__ import annotations

import copy
from typing import Protocol

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Token
from hainan_k2.search.biasing import scaled_hotwords
from hainan_k2.search.emissions import Decision
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import NO_RESOURCES, DecodingResources


class Stream(Protocol):
    """The search of a stream, of which `num_frames` frames are accepted so far.

    All tokens that `accept` and `finish` return, in this order, are those of the whole utterance; their frames count
    from the beginning of the stream.
    """

    num_frames: int

    def accept(self, encoder_out: Tensor, more: int = 0) -> list[Token]:
        """Search the next frames, encoder_out (T, C); returns the tokens that are final now.

        more: frames that are known to follow, at least.
        """

    def preview(self, encoder_out: Tensor) -> list[Token]:
        """The tokens behind the final ones, if the stream ended with the frames encoder_out (T, C)."""

    def finish(self) -> list[Token]:
        """The tokens behind the final ones. The stream has ended."""


class StreamingGreedy:
    """ar-greedy, or nar-greedy if not `autoregressive`: all pieces together have the tokens of the whole utterance.

    Between pieces it keeps the predictor's state, the frame that comes next, which may lie within the next piece
    because of the last duration, and the number of tokens on it.
    """

    def __init__(
        self,
        model: Hainan,
        options: SearchConfig,
        resources: DecodingResources = NO_RESOURCES,
        autoregressive: bool = True,
    ) -> None:
        weight = model.joiner.enc.weight
        self.model, self.autoregressive = model, autoregressive
        self.max_symbols = options.max_symbols if autoregressive else 1  # NAR: one token per frame
        self.durations = torch.tensor(model.durations, device=weight.device)
        self.num_frames = 0  # frames accepted so far
        self.time = 0  # the next frame
        self.count = 0  # tokens emitted on it
        self.predicted: Tensor | None = None  # projected predictor output (1, J); None: non-autoregressive
        self.hotwords = scaled_hotwords(resources, options, weight.device) if autoregressive else None
        self.phrase = torch.zeros(1, dtype=torch.int64, device=weight.device)  # state of the hotwords
        if autoregressive:
            self.state = model.predictor.initial_state(1, weight.device, weight.dtype)
            self._advance(BLANK)

    @torch.no_grad()
    def _advance(self, token: int) -> None:
        out, self.state = self.model.predictor.step(torch.tensor([token], device=self.durations.device), self.state)
        self.predicted = self.model.joiner.project_predictor(out)

    @torch.no_grad()
    def accept(self, encoder_out: Tensor, more: int = 0) -> list[Token]:
        """The tokens on the next frames, encoder_out (T, C)."""
        projected = self.model.joiner.project_encoder(encoder_out)
        begin, self.num_frames = self.num_frames, self.num_frames + len(projected)
        tokens = []
        while self.time < self.num_frames:
            logits = self.model.joiner.logits(projected[self.time - begin][None], self.predicted)
            bias = 0.0 if self.hotwords is None else self.hotwords.bias(self.phrase)
            best = Decision(logits, self.model.vocab_size, self.durations, bias)
            token, duration = int(best.token), int(best.duration)
            full = duration == 0 and self.count + 1 >= self.max_symbols
            moved = max(1, duration) if token == BLANK or full else duration
            if token != BLANK:
                tokens.append(Token(token, self.time, duration, float(best.token_log_prob.exp())))
                if self.autoregressive:
                    self._advance(token)
                if self.hotwords is not None:
                    self.phrase = self.hotwords.advance(self.phrase, best.token)[1]
            self.time += moved
            self.count = 0 if moved else self.count + 1
        return tokens

    def preview(self, encoder_out: Tensor) -> list[Token]:
        """The tokens on the frames encoder_out (T, C), if they were the next."""
        return copy.copy(self).accept(encoder_out)

    def finish(self) -> list[Token]:
        """None: all tokens are final already."""
        return []


def streaming_nar(model: Hainan, options: SearchConfig, resources: DecodingResources = NO_RESOURCES) -> StreamingGreedy:
    """nar-greedy."""
    return StreamingGreedy(model, options, resources, autoregressive=False)
