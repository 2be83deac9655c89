"""Scores of tokens during a search: language models and hotwords, one or several at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

_MOST_STATES = 2**63 - 1


class Scorer(Protocol):
    """A deterministic weighted automaton over tokens, such as NgramLm and HotwordGraph.

    States are numbered below `num_states`; every state has one arc of every token, and a final score. A scorer that
    gives credit for unfinished phrases, as HotwordGraph does, also has `refundable(states)`: the part (N,) of the
    scores up to states (N,) that it may take back later.
    """

    @property
    def start(self) -> int:
        """The start state."""

    @property
    def num_states(self) -> int:
        """The number of states."""

    def to(self, device: torch.device) -> Scorer:
        """The same scorer on `device`."""

    def advance(self, states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and next states (N,) of tokens (N,) in states (N,)."""

    def final(self, states: Tensor) -> Tensor:
        """Final scores (N,) of states (N,)."""


def score_sentences(scorer: Scorer, sequences: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """(N,) float64 scores of N token sequences by a scorer on `device`, from its start to the final score."""
    total = torch.zeros(len(sequences), dtype=torch.float64, device=device)
    states = torch.full_like(total, scorer.start, dtype=torch.int64)
    lens = torch.tensor([len(sequence) for sequence in sequences], device=device, dtype=torch.int64)
    for i in range(max(map(len, sequences), default=0)):
        rows = (lens > i).nonzero()[:, 0]
        tokens = [sequence[i] for sequence in sequences if len(sequence) > i]
        scores, states[rows] = scorer.advance(states[rows], torch.tensor(tokens, device=device))
        total[rows] += scores
    return total + scorer.final(states)


def check_states(num_states: int, utterances: int = 1) -> None:
    """ValueError where the states of scorers, for so many utterances at once, cannot be numbered by int64."""
    if num_states * utterances > _MOST_STATES:
        raise ValueError(
            f"the language models have {num_states:.1e} states together, times {utterances} utterances: at most "
            f"{_MOST_STATES:.1e} can be numbered; prune them (hainan-prune-lm), or use fewer at once"
        )


class WeightedScorers:
    """The product of several scorers, with scores sum_i weight_i x scorer_i; a Scorer itself.

    A state is the states of all scorers as one number, in mixed radix. A scorer of weight 0 is left out. A scorer of
    negative weight that gives -inf subtracts nothing. ValueError where the product has too many states.
    """

    def __init__(self, scorers: Sequence[tuple[Scorer, float]], device: torch.device):
        self.scorers = [(scorer.to(device), weight) for scorer, weight in scorers if weight]
        self.device = device
        self.start, self.num_states = 0, 1
        for scorer, _ in self.scorers:
            self.start = self.start * scorer.num_states + scorer.start
            self.num_states *= scorer.num_states
        check_states(self.num_states)

    def advance(self, states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        total, after = torch.zeros_like(states, dtype=torch.float64), torch.zeros_like(states)
        for (scorer, weight), state in zip(self.scorers, self._split(states)):
            score, state = scorer.advance(state, tokens)
            total += _weigh(score, weight)
            after = after * scorer.num_states + state
        return total, after

    def final(self, states: Tensor) -> Tensor:
        total = torch.zeros_like(states, dtype=torch.float64)
        for (scorer, weight), state in zip(self.scorers, self._split(states)):
            total += _weigh(scorer.final(state), weight)
        return total

    @cached_property
    def refunds(self) -> bool:
        """Whether a scorer may take back a part of its scores: hotwords of positive weight, not all 0."""
        return any(
            bool(scorer.refundable(torch.arange(scorer.num_states, device=self.device)).any())
            for scorer, weight in self.scorers
            if weight > 0 and hasattr(scorer, "refundable")
        )

    def refundable(self, states: Tensor) -> Tensor:
        """The part (N,) of the scores up to states (N,) that may be taken back later."""
        total = torch.zeros_like(states, dtype=torch.float64)
        for (scorer, weight), state in zip(self.scorers, self._split(states)):
            if weight > 0 and hasattr(scorer, "refundable"):
                total += weight * scorer.refundable(state)
        return total

    def _split(self, states: Tensor) -> list[Tensor]:
        """The states (N,) of each scorer."""
        parts = []
        for scorer, _ in reversed(self.scorers[1:]):
            parts.append(states % scorer.num_states)
            states = torch.div(states, scorer.num_states, rounding_mode="floor")
        return [states, *reversed(parts)]


def _weigh(score: Tensor, weight: float) -> Tensor:
    score = weight * score.double()
    return score if weight > 0 else score.masked_fill(score == torch.inf, 0.0)
