"""The input of a search, frames without padding, and its output, emitted tokens: both packed into flat tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hainan_k2.result import Hypothesis, hypotheses_from_lists


@dataclass(frozen=True)
class Frames:
    """The N valid frames of a batch, utterance after utterance. No result can depend on padding: it is dropped."""

    values: Tensor  # (N, C)
    lens: Tensor  # (B,) int64
    starts: Tensor  # (B,) int64: row of every utterance's first frame
    longest: int  # frames of the longest utterance

    @classmethod
    def pack(cls, padded: Tensor, lens: Tensor) -> Frames:
        """From padded (B, T, C) and lens (B,). Raises ValueError for other shapes, and lens outside 0 ... T."""
        if padded.ndim != 3 or lens.shape != padded.shape[:1]:
            raise ValueError(f"encoder output {tuple(padded.shape)}, lens {tuple(lens.shape)}: not (B, T, C) and (B,)")
        counts = lens.tolist()
        if counts and not 0 <= min(counts) <= max(counts) <= padded.shape[1]:
            raise ValueError(f"lens {counts} should lie within the encoder output's {padded.shape[1]} frames")
        lens = lens.to(padded.device, torch.int64)
        valid = torch.arange(padded.shape[1], device=padded.device) < lens[:, None]
        return cls(padded[valid], lens, lens.cumsum(0) - lens, max(counts, default=0))

    def map(self, function: Callable[[Tensor], Tensor]) -> Frames:
        """The same frames with function(values), which maps (N, C) to (N, C')."""
        return Frames(function(self.values), self.lens, self.starts, self.longest)

    def utterance(self) -> Tensor:
        """The utterance of every row, (N,) int64."""
        return torch.repeat_interleave(self.lens, output_size=len(self.values))


@dataclass(frozen=True)
class Emissions:
    """The N tokens that a search emitted for a batch, utterance after utterance, in order of time."""

    utterance: Tensor  # (N,) int64
    token: Tensor  # (N,) int64
    frame: Tensor  # (N,) int64, from the utterance's first frame
    duration: Tensor  # (N,) int64, frames
    confidence: Tensor  # (N,) in [0, 1]
    score: Tensor  # (B,) float64, natural log

    def select(self, keep: Tensor) -> Emissions:
        """The tokens where keep (N,) bool is true, or those at the indices keep (M,) int64."""
        return Emissions(
            self.utterance[keep],
            self.token[keep],
            self.frame[keep],
            self.duration[keep],
            self.confidence[keep],
            self.score,
        )

    def ids(self) -> list[tuple[int, ...]]:
        """The token ids of every utterance."""
        sizes = torch.bincount(self.utterance, minlength=len(self.score)).tolist()
        ids = iter(self.token.tolist())
        return [tuple(next(ids) for _ in range(size)) for size in sizes]

    def hypotheses(self, lens: Tensor) -> list[Hypothesis]:
        """One Hypothesis per utterance of lens (B,) frames."""
        return hypotheses_from_lists(
            self.utterance.tolist(),
            self.token.tolist(),
            self.frame.tolist(),
            self.duration.tolist(),
            self.confidence.tolist(),
            self.score.tolist(),
            lens.tolist(),
        )


class Decision:
    """The best token and the best duration of each of N joint outputs.

    Args:
      logits: (N, V + D), raw.
      durations: (D,) int64, frames.
      bias: (N, V) or (N, 1), added to the token logits for the choice, not to the log-probabilities.
    Attributes:
      token, duration: (N,) int64, the duration in frames.
      token_log_prob, duration_log_prob: (N,), natural log.
    """

    def __init__(self, logits: Tensor, vocab_size: int, durations: Tensor, bias: Tensor | float = 0.0) -> None:
        tokens, lengths = logits[:, :vocab_size], logits[:, vocab_size:]
        self.token, index = (tokens + bias).argmax(-1), lengths.argmax(-1)
        self.duration = durations[index]
        self.token_log_prob = tokens.log_softmax(-1).gather(1, self.token[:, None])[:, 0]
        self.duration_log_prob = lengths.log_softmax(-1).gather(1, index[:, None])[:, 0]
