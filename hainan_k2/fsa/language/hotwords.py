"""Hotwords: phrases that a search is to expect, as one Aho-Corasick automaton over tokens.

States are the prefixes of all phrases, 0 the empty one, where it starts; every state is final. Token v leads from
prefix q to the longest suffix of q v that is a prefix. With the hotwords "new york" and "york":

    (0) -- new --> (1) -- york --> (2)        fail(1) = 0,  fail(2) = 3
    (0) -- york -> (3)                        fail(3) = 0
    q -- v --> fail(q) -- v --> ...           for a token v that no edge of q bears

Only these edges are stored, sorted by (q, v), and one failure link per state: memory is linear in the phrases' tokens.

**What is paid.** A sequence gets weight x tokens of every phrase at every place where it stands as whole words: where
the token after it, if there is one, starts a word. Overlapping and nested phrases are all paid. What is paid is only
known one token later; so that a pruned search sees it in time, every state has a credit

    credit(q) = sum over phrases that end in q of weight x tokens
              + the most that an unfinished phrase has earned up to q, weight x tokens so far

and the step from q to r by v weighs  [v starts a word] ended(q) + credit(r) - credit(q), the end at q weighs ended(q) -
credit(q), where ended(q) is the first line of credit(q). Along any sequence the credits cancel and what is paid stays,
exactly: unfinished phrases give everything back. Phrases begin with a token that starts a word, so they match at word
starts only.

So the credit at q is what may still be taken back (`refundable`). A search that prunes has to look at scores with and
without it: hainan_k2.fsa.lattices.lm_search says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hainan_k2.config import BLANK


@dataclass(frozen=True, eq=False)
class HotwordGraph:
    """The automaton: S states, E edges, V tokens. Bonuses are natural logarithms, float64, not negative.

    It has the interface of NgramLm, so that a search takes either: start, advance, final, score.
    """

    keys: Tensor  # (E,) int64, ascending: state x V + token of every edge
    targets: Tensor  # (E,) int64: where it leads
    first_edge: Tensor  # (S + 1,) int64: the edges of q are first_edge[q] to first_edge[q + 1]
    failure: Tensor  # (S,) int64
    ended: Tensor  # (S,)
    credit: Tensor  # (S,)
    weight: Tensor  # (S,): the largest weight of the phrases that are under way or end
    starts_word: Tensor  # (V,) bool
    max_failures: int  # failure links from any state to 0, at most

    start = 0

    @classmethod
    def build(cls, phrases: Mapping[tuple[int, ...], float], starts_word: Sequence[bool]) -> HotwordGraph:
        """The automaton of {token ids: weight}.

        Args:
          starts_word: (V,), whether a token starts a word.
        Raises:
          ValueError: where there is no phrase, one has no token, or begins within a word, or has a negative weight.
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
        return len(self.failure)

    @property
    def num_arcs(self) -> int:
        """Edges, without failure links."""
        return len(self.keys)

    @property
    def vocab_size(self) -> int:
        """V, blank included."""
        return len(self.starts_word)

    def to(self, device: torch.device | str) -> HotwordGraph:
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "max_failures"}
        return replace(self, **{name: tensor.to(device) for name, tensor in tensors.items()})

    def advance(self, states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The weights of the steps from states (N,) by tokens (N,), none of them blank, and where they lead."""
        reached, seek = torch.zeros_like(states), torch.arange(len(states), device=states.device)
        at = states
        while len(seek):
            key = at * self.vocab_size + tokens[seek]
            edge = torch.searchsorted(self.keys, key).clamp(max=self.num_arcs - 1)
            found = self.keys[edge] == key
            reached[seek[found]] = self.targets[edge[found]]
            missing = ~found & (at != 0)
            seek, at = seek[missing], self.failure[at[missing]]
        return self._weigh(states, tokens, reached), reached

    def advance_all(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """The weights of the steps from states (N,) by every token, (N, V), and where they lead; by blank nothing
        changes."""
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
        """(N, V): what speaks for a token after states (N,) where it begins or continues a phrase: the largest weight
        of these phrases.

        For a search that never takes a token back. It has no use for refunds: they fall due whenever an unfinished
        phrase is left, so holding them against the next token would only make it put off every token but one.
        """
        reached = self.advance_all(states)[1]
        weights = self.weight[reached]
        weights[:, BLANK] = 0.0
        return weights

    def scaled(self, scale: float) -> HotwordGraph:
        """The same automaton with all weights times `scale`; ValueError where that is negative."""
        if not 0.0 <= scale < float("inf"):
            raise ValueError(f"hotwords have the scale {scale}: it should be finite and not negative")
        return replace(self, ended=scale * self.ended, credit=scale * self.credit, weight=scale * self.weight)

    def _weigh(self, states: Tensor, tokens: Tensor, reached: Tensor) -> Tensor:
        return self.ended[states] * self.starts_word[tokens] + self.credit[reached] - self.credit[states]

    def final(self, states: Tensor) -> Tensor:
        """The weights (N,) of the end at states (N,)."""
        return self.ended[states] - self.credit[states]

    def refundable(self, states: Tensor) -> Tensor:
        """The part (N,) of the weights up to states (N,) that may still be taken back: their credit."""
        return self.credit[states]

    def states(self, labels: Tensor) -> Tensor:
        """The states (N, U + 1) before every token of labels (N, U) and after the last; blanks change nothing."""
        column = [labels.new_full((len(labels),), self.start)]
        for tokens in labels.unbind(1):
            column.append(torch.where(tokens == BLANK, column[-1], self.advance(column[-1], tokens)[1]))
        return torch.stack(column, dim=1)

    def score(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """What every sequence of token ids is paid, (N,)."""
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
    """Failure links, breadth first, and their longest chain; the tables take up what suffixes contribute."""
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
