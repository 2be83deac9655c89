"""What searches compute on: the valid frames of a batch without padding, and the tokens that it emitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hainan_k2.result import Hypothesis, hypotheses_from_lists


@dataclass(frozen=True)
class Frames:
    """The N valid frames of a batch, utterance after utterance. Padding is dropped before anything is
    computed, so that nothing can depend on it."""

    values: Tensor  # (N, C)
    lens: Tensor  # (B,) int64
    starts: Tensor  # (B,) int64: row of every utterance's first frame
    longest: int  # frames of the longest utterance

    @classmethod
    def pack(cls, padded: Tensor, lens: Tensor) -> Frames:
        """From padded (B, T, C) and lens (B,); ValueError where they do not fit."""
        if padded.ndim != 3 or lens.shape != padded.shape[:1]:
            raise ValueError(f"encoder output {tuple(padded.shape)}, lens {tuple(lens.shape)}: not (B, T, C) and (B,)")
        counts = lens.tolist()
        if counts and not 0 <= min(counts) <= max(counts) <= padded.shape[1]:
            raise ValueError(f"lens {counts} should lie within the encoder output's {padded.shape[1]} frames")
        lens = lens.to(padded.device, torch.int64)
        valid = torch.arange(padded.shape[1], device=padded.device) < lens[:, None]
        return cls(padded[valid], lens, lens.cumsum(0) - lens, max(counts, default=0))

    def map(self, function: Callable[[Tensor], Tensor]) -> Frames:
        """`function` of the values, row by row."""
        return Frames(function(self.values), self.lens, self.starts, self.longest)

    def utterance(self) -> Tensor:
        """(N,) int64: the utterance of every row."""
        return torch.repeat_interleave(self.lens, output_size=len(self.values))


@dataclass(frozen=True)
class Emissions:
    """The N tokens that a search emitted for a batch, utterance after utterance, in order.

    utterance, token, frame, duration: (N,) int64; confidence: (N,) in [0, 1]; score: (B,) float64, natural
    log.
    """

    utterance: Tensor
    token: Tensor
    frame: Tensor
    duration: Tensor
    confidence: Tensor
    score: Tensor

    def select(self, keep: Tensor) -> Emissions:
        """Only the tokens where keep (N,) bool holds."""
        parts = (self.utterance, self.token, self.frame, self.duration, self.confidence)
        return Emissions(*(part[keep] for part in parts), self.score)

    def ids(self) -> list[tuple[int, ...]]:
        """The token ids of every utterance."""
        sizes = torch.bincount(self.utterance, minlength=len(self.score)).tolist()
        ids = iter(self.token.tolist())
        return [tuple(next(ids) for _ in range(size)) for size in sizes]

    def hypotheses(self, lens: Tensor) -> list[Hypothesis]:
        """One Hypothesis per utterance of lens (B,) frames."""
        parts = (self.utterance, self.token, self.frame, self.duration, self.confidence, self.score, lens)
        return hypotheses_from_lists(*(part.tolist() for part in parts))


class Decision:
    """The best token and the best duration of each of N joint outputs.

    token, duration (in frames): (N,) int64; token_log_prob, duration_log_prob: (N,), of the model alone. `bias` (N, V)
    is added to the tokens' logits for the choice.
    """

    def __init__(self, logits: Tensor, vocab_size: int, durations: Tensor, bias: Tensor | float = 0.0):
        tokens, lengths = logits[:, :vocab_size], logits[:, vocab_size:]
        self.token, index = (tokens + bias).argmax(-1), lengths.argmax(-1)
        self.duration = durations[index]
        self.token_log_prob = tokens.log_softmax(-1).gather(1, self.token[:, None])[:, 0]
        self.duration_log_prob = lengths.log_softmax(-1).gather(1, index[:, None])[:, 0]
