"""The automaton of an autoregressive search: the product of a grammar or word graph with LMs and hotwords.

A state is one number: the states of the graph and of the scorers, in mixed radix. The graph may have several arcs of a
token, each of which continues a hypothesis; scorers are deterministic, and add a score to every token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import torch
from torch import Tensor

from hainan_k2.fsa.language.scorers import WeightedScorers
from hainan_k2.fsa.language.token_graph import TokenGraph

CANDIDATES = 8  # tokens per hypothesis that the scorers rate, times the beam


@dataclass(frozen=True)
class Choices:
    """W continuations of each of N hypotheses by a token; every field is (N, W). Unused places have lm_score -inf."""

    token: Tensor  # int64
    log_prob: Tensor  # of the token, by the model
    lm_score: Tensor  # float64, weighted, of the automaton's arcs
    state: Tensor  # int64, of the automaton, after the token
    arc: Tensor  # int64, of the graph; 0 without a graph


class Automaton:
    """The product of a graph, whose scores are multiplied by `graph_scale`, and weighted scorers."""

    def __init__(self, scorers: WeightedScorers, graph: Optional[TokenGraph] = None, graph_scale: float = 1.0) -> None:
        self.scorers, self.graph, self.graph_scale = scorers, graph, graph_scale
        self.start = scorers.start if graph is None else graph.start * scorers.num_states + scorers.start

    @property
    def trivial(self) -> bool:
        """Whether it accepts everything with score 0: there is neither a graph nor a scorer."""
        return self.graph is None and not self.scorers.scorers

    @property
    def refunds(self) -> bool:
        """Whether a part of the scores may be taken back later (`WeightedScorers.refundable`)."""
        return self.scorers.refunds

    def choose(self, log_probs: Tensor, states: Tensor, width: int) -> Choices:
        """The continuations of hypotheses in states (N,) by their best `width` tokens.

        The scorers rate only the CANDIDATES * width most probable tokens, or arcs of the graph. Where a part of the
        scores may be taken back, the best `width` without that part are chosen as well.

        Args:
          log_probs: (N, V) of the tokens, natural log, blank = 0.
        """
        many = CANDIDATES * width
        if self.graph is None:
            few = width if self.trivial else many
            log_prob, token = log_probs[:, 1:].topk(min(few, log_probs.shape[1] - 1))
            token += 1
            lm_score, scorer_state, arc = torch.zeros_like(log_prob, dtype=torch.float64), states, token
            if self.trivial:
                return Choices(token, log_prob, lm_score, states[:, None].expand_as(token), arc)
            graph_state = None
        else:
            log_prob, token, lm_score, arc = self._arcs(self.graph, log_probs, states, many)
            scorer_state = states % self.scorers.num_states
            graph_state = self.graph.target[arc]
        after = scorer_state[:, None].expand_as(token)
        if self.scorers.scorers:
            score, after = self.scorers.advance(after.reshape(-1), token.reshape(-1))
            lm_score, after = lm_score + score.view(token.shape), after.view(token.shape)
        state = after if graph_state is None else graph_state * self.scorers.num_states + after
        choices = Choices(token, log_prob, lm_score, state, torch.zeros_like(token) if graph_state is None else arc)
        return self._best(choices, width)

    def _arcs(
        self, graph: TokenGraph, log_probs: Tensor, states: Tensor, count: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Log-probability, token, weighted score and number of the best `count` arcs of each state, (N, W)."""
        at = torch.div(states, self.scorers.num_states, rounding_mode="floor")
        owner, arc = graph.leaving(at)
        score = self.graph_scale * graph.score[arc]
        value = log_probs[owner, graph.label[arc]].double() + score
        column = torch.arange(len(owner), device=owner.device) - torch.searchsorted(owner, owner)
        width = 1 + int(column.max()) if len(column) else 1
        table = value.new_full((len(states), width), -torch.inf)
        table[owner, column] = value
        value, column = table.sort(dim=1, descending=True, stable=True)
        value, column = value[:, :count], column[:, :count]
        exists = value > -torch.inf
        arc = torch.where(exists, graph.first[at][:, None] + column, torch.zeros_like(column))
        token = graph.label[arc]
        lm_score = torch.where(exists, self.graph_scale * graph.score[arc], -torch.inf)
        return log_probs.gather(1, token), token, lm_score, arc

    def _best(self, choices: Choices, width: int) -> Choices:
        """The best `width` continuations of each hypothesis, and the best others without what may be taken back."""
        score = choices.log_prob.double() + choices.lm_score
        if score.shape[1] <= width:
            return choices
        chosen = score.topk(width).indices
        if self.refunds:
            refund = self.refundable(choices.state.reshape(-1)).view(score.shape)
            certain = (score - refund).scatter(1, chosen, -torch.inf)
            chosen = torch.cat([chosen, certain.topk(min(width, score.shape[1] - width)).indices], dim=1)
        fields = (choices.token, choices.log_prob, choices.lm_score, choices.state, choices.arc)
        return Choices(*(field.gather(1, chosen) for field in fields))

    def final(self, states: Tensor) -> Tensor:
        """Final scores of states, any shape, float64."""
        flat = states.reshape(-1)
        if self.graph is None:
            return self.scorers.final(flat).view(states.shape)
        score = self.graph_final(flat)
        score = torch.where(score > -torch.inf, self.graph_scale * score, score)
        return (score + self.scorers.final(flat % self.scorers.num_states)).view(states.shape)

    def graph_final(self, states: Tensor) -> Tensor:
        """Final scores (N,) of the graph, without its scale, in states (N,)."""
        assert self.graph is not None
        return self.graph.final(torch.div(states, self.scorers.num_states, rounding_mode="floor"))

    def refundable(self, states: Tensor) -> Tensor:
        """The part of the scores up to states, any shape, that may be taken back later."""
        return self.scorers.refundable(states.reshape(-1) % self.scorers.num_states).view(states.shape)
