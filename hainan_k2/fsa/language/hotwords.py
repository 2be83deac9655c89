"""Hotwords: phrases to be favoured by a search, as one Aho-Corasick automaton over tokens.

The states are the prefixes of all phrases. State 0, the empty prefix, is the start; every state is final. The arc of
token v from prefix q leads to the longest suffix of q v that is a prefix. With the hotwords "new york" and "york":

    (0) -- new --> (1) -- york --> (2)        fail(1) = 0,  fail(2) = 3
    (0) -- york -> (3)                        fail(3) = 0
    q -- v --> fail(q) -- v --> ...           for a token v that q has no edge of

Only these edges, sorted by (q, v), and one failure link per state are stored: memory is linear in the tokens of all
phrases.

**The bonus.** A sequence gets weight x tokens for every occurrence of a phrase as whole words, that is, where the next
token, if there is one, starts a word. Overlapping and nested phrases all count. Whether a phrase counts is only known
one token later, which is too late for a pruned search. Therefore every state has a credit

    credit(q) = sum over phrases that end in q of weight x tokens
              + the largest weight x tokens so far of an unfinished phrase

With ended(q), the first line of credit(q), the arc from q to r by v has the score [v starts a word] ended(q) +
credit(r) - credit(q), and the final score of q is ended(q) - credit(q). Along any sequence the credits cancel exactly
and only the bonus is left: unfinished phrases give everything back. Phrases begin with a token that starts a word, so
they match at word starts only.

The credit of q may thus be taken back later (`refundable`). A search that prunes has to compare scores with and without
it; hainan_k2.fsa.lattices.lm_search explains how.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hainan_k2.config import BLANK


@dataclass(frozen=True, eq=False)
class HotwordGraph:
    """The automaton: S states, E edges, V tokens. Bonuses are natural logarithms, float64, not negative.

    It is a Scorer, as NgramLm is, so that a search takes either.

        graph = HotwordGraph.build({(5, 7): 1.0}, starts_word=[False, False, ..., True])
        graph.score([[5, 7]])      # (1,): weight x tokens = 2.0
    """

    keys: Tensor  # (E,) int64, ascending: state x V + token of every edge
    targets: Tensor  # (E,) int64: the state that it leads to
    first_edge: Tensor  # (S + 1,) int64: the edges of q are first_edge[q] to first_edge[q + 1]
    failure: Tensor  # (S,) int64
    ended: Tensor  # (S,)
    credit: Tensor  # (S,)
    weight: Tensor  # (S,): the largest weight of the phrases that end or continue there
    starts_word: Tensor  # (V,) bool
    max_failures: int  # the longest chain of failure links from a state to 0

    start = 0

    @classmethod
    def build(cls, phrases: Mapping[tuple[int, ...], float], starts_word: Sequence[bool]) -> HotwordGraph:
        """The automaton of {token ids: weight}.

        Args:
          starts_word: (V,), whether a token starts a word.
        Raises:
          ValueError: if there is no phrase, or one has no token, begins within a word or has a negative weight.
        """
        if not phrases:
            raise ValueError("there is no hotword: give one phrase at least")
        children: list[dict[int, int]] = [{}]
        ended, earned, weight = [0.0], [0.0], [0.0]
        for ids, w in phrases.items():
            if not ids or not all(BLANK < i < len(starts_word) for i in ids) or not starts_word[ids[0]]:
                raise ValueError(f"hotword {ids} should be tokens of 1 to {len(starts_word) - 1} that start a word")
            if not 0.0 <= w < float("inf"):
                raise ValueError(f"hotword {ids} has the weight {w}: it should be finite and not negative")
            state = 0
            for length, token in enumerate(ids, 1):
                if token not in children[state]:
                    children[state][token] = len(children)
                    children.append({})
                    for table in (ended, earned, weight):
                        table.append(0.0)
                state = children[state][token]
                weight[state] = max(weight[state], w)
                if length < len(ids):
                    earned[state] = max(earned[state], w * length)
            ended[state] += w * len(ids)

        failure, depth = _link(children, ended, earned, weight)
        edges = [(q, token, r) for q, row in enumerate(children) for token, r in sorted(row.items())]
        source, label, target = torch.tensor(edges).T.contiguous()
        first_edge = torch.searchsorted(source, torch.arange(len(children) + 1))
        tables = (torch.tensor(table, dtype=torch.float64) for table in (ended, earned, weight))
        paid, partial, weights = tables
        return cls(
            source * len(starts_word) + label,
            target,
            first_edge,
            torch.tensor(failure),
            paid,
            paid + partial,
            weights,
            torch.tensor(list(starts_word), dtype=torch.bool),
            depth,
        )

    @property
    def num_states(self) -> int:
        """S."""
        return len(self.failure)

    @property
    def num_arcs(self) -> int:
        """E, without failure links."""
        return len(self.keys)

    @property
    def vocab_size(self) -> int:
        """V, blank included."""
        return len(self.starts_word)

    def to(self, device: torch.device | str) -> HotwordGraph:
        """The same automaton on `device`."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "max_failures"}
        moved: dict[str, Any] = {name: tensor.to(device) for name, tensor in values.items()}
        return replace(self, **moved)

    def advance(self, states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (N,) float64 of the arcs of tokens (N,), not blank, from states (N,), and next states (N,)."""
        reached, seek = torch.zeros_like(states), torch.arange(len(states), device=states.device)
        at = states
        while len(seek):
            key = at * self.vocab_size + tokens[seek]
            edge = torch.searchsorted(self.keys, key).clamp(max=self.num_arcs - 1)
            has_edge = self.keys[edge] == key
            reached[seek[has_edge]] = self.targets[edge[has_edge]]
            missing = ~has_edge & (at != 0)
            seek, at = seek[missing], self.failure[at[missing]]
        return self._weigh(states, tokens, reached), reached

    def advance_all(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (N, V) of the arcs of every token from states (N,), and the next states (N, V).

        Blank scores 0 and leads to the same state.
        """
        distinct, row = states.unique(return_inverse=True)
        reached = distinct.new_zeros((len(distinct), self.vocab_size))
        chain = [distinct]
        for _ in range(self.max_failures):
            chain.append(self.failure[chain[-1]])
        for at in reversed(chain):  # the edges of longer prefixes go before
            degree = self.first_edge[at + 1] - self.first_edge[at]
            owner = torch.repeat_interleave(degree)
            edge = torch.arange(len(owner), device=owner.device)
            edge = edge + (self.first_edge[at] - degree.cumsum(0) + degree)[owner]
            reached[owner, self.keys[edge] % self.vocab_size] = self.targets[edge]
        tokens = torch.arange(self.vocab_size, device=states.device)
        weights = self._weigh(distinct[:, None], tokens, reached)
        reached[:, BLANK], weights[:, BLANK] = distinct, 0.0
        return weights[row], reached[row]

    def bias(self, states: Tensor) -> Tensor:
        """(N, V): the bias of each token in states (N,): the largest weight of the phrases that it begins or continues.

        For greedy searches, which never revise a token. Refunds would only delay them: leaving an unfinished phrase
        costs a refund, which would count against every token except the one that continues the phrase.
        """
        reached = self.advance_all(states)[1]
        weights = self.weight[reached]
        weights[:, BLANK] = 0.0
        return weights

    def scaled(self, scale: float) -> HotwordGraph:
        """The same automaton with all weights times `scale`; ValueError if that is negative or not finite."""
        if not 0.0 <= scale < float("inf"):
            raise ValueError(f"hotwords have the scale {scale}: it should be finite and not negative")
        return replace(self, ended=scale * self.ended, credit=scale * self.credit, weight=scale * self.weight)

    def _weigh(self, states: Tensor, tokens: Tensor, reached: Tensor) -> Tensor:
        return self.ended[states] * self.starts_word[tokens] + self.credit[reached] - self.credit[states]

    def final(self, states: Tensor) -> Tensor:
        """Final scores (N,) of states (N,)."""
        return self.ended[states] - self.credit[states]

    def refundable(self, states: Tensor) -> Tensor:
        """The part (N,) of the scores up to states (N,) that may still be taken back: their credit."""
        return self.credit[states]

    def states(self, labels: Tensor) -> Tensor:
        """The states (N, U + 1) before every token of labels (N, U) and after the last; blanks are skipped."""
        column = [labels.new_full((len(labels),), self.start)]
        for tokens in labels.unbind(1):
            column.append(torch.where(tokens == BLANK, column[-1], self.advance(column[-1], tokens)[1]))
        return torch.stack(column, dim=1)

    def score(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """The bonus (N,) of each of N sequences of token ids."""
        device = self.ended.device
        labels = [torch.tensor(ids, dtype=torch.int64, device=device) for ids in sequences]
        if not labels:
            return self.ended.new_zeros(0)
        padded = pad_sequence(labels, batch_first=True, padding_value=BLANK)
        states = self.states(padded)[:, 1:]
        following = torch.nn.functional.pad(padded[:, 1:], (0, 1), value=BLANK)
        whole = (padded != BLANK) & ((following == BLANK) | self.starts_word[following])
        return (self.ended[states] * whole).sum(1)


def _link(
    children: list[dict[int, int]], ended: list[float], earned: list[float], weight: list[float]
) -> tuple[list[int], int]:
    """The failure links, and the length of their longest chain; adds what suffixes contribute to the tables."""
    failure, failures = [0] * len(children), [0] * len(children)
    level = list(children[0].values())
    while level:
        for state in level:
            suffix = failure[state]
            ended[state] += ended[suffix]
            earned[state] = max(earned[state], earned[suffix])
            weight[state] = max(weight[state], weight[suffix])
            failures[state] = failures[suffix] + 1
            for token, child in children[state].items():
                at = suffix
                while at and token not in children[at]:
                    at = failure[at]
                failure[child] = children[at].get(token, 0)
        level = [child for state in level for child in children[state].values()]
    return failure, max(failures)
