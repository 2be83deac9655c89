"""The hypotheses of an autoregressive search that has ended, read back along its trail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

import torch

from hainan_k2.result import Hypothesis, Token
from hainan_k2.search.ar_columns import NODE, STATE, TEXT, merge
from hainan_k2.search.ar_search import ArSearch

Words = Callable[[Sequence[int]], tuple[tuple[str, int, int], ...]]  # of the outputs of a path's tokens


@dataclass(frozen=True)
class Found:
    """What a search has found for an utterance."""

    hypothesis: Hypothesis  # without tokens, of score -inf, where there is none
    graph_score: float  # the graph's part of its score, along its best path; 0 without a graph


def read_hypotheses(
    search: ArSearch, num_frames: Sequence[int], nbest: int, words: Optional[Words] = None
) -> list[Found]:
    """The best hypothesis of each of B utterances of `num_frames`; with nbest > 1, the best `nbest` as alternatives.

    words: makes words of the output ids of a path's tokens.
    """
    score, _ = merge(search.score, search.columns[TEXT], add=True)  # texts that ended in different states
    score, order = score.sort(dim=1, descending=True, stable=True)
    scores = (score + search.offset[:, None])[:, :nbest].tolist()
    nodes = search.columns[NODE].gather(1, order)[:, :nbest].tolist()
    trail = Trail(search)
    graph = search.extension.automaton.graph
    finals = [0.0] * len(scores)
    if graph is not None:
        finals = search.extension.automaton.graph_final(search.columns[STATE].gather(1, order)[:, 0]).tolist()
    found = []
    for b, length in enumerate(num_frames):
        listed, graph_score = [Hypothesis((), -torch.inf, length)] * (scores[b][0] == -torch.inf), 0.0
        for value, node in zip(scores[b], nodes[b]):
            if value > -torch.inf:
                path = trail.path(node)
                output = words([trail.outputs[n] for n in path]) if words is not None else None
                listed.append(Hypothesis(trail.tokens(path, b), value, length, output=output))
                if len(listed) == 1 and graph is not None:
                    graph_score = finals[b] + sum(trail.graph_scores[n] for n in path)
        best = replace(listed[0], alternatives=tuple(listed) if nbest > 1 else ())
        found.append(Found(best, graph_score))
    return found


class Trail:
    """The trail of a search as lists: of every emitted token its parent, and what it is."""

    def __init__(self, search: ArSearch) -> None:
        columns: list[Any] = (
            [torch.cat(column) for column in zip(*search.trail)] if search.trail else [torch.zeros(0)] * 6
        )
        parents, ids, times, durations, log_probs, arcs = columns
        rows = torch.div(times, search.extension.symbols, rounding_mode="floor")
        self.parents, self.ids, self.rows, self.durations = (c.tolist() for c in (parents, ids, rows, durations))
        self.confidences, self.begins = log_probs.exp().tolist(), search.extension.begins.tolist()
        graph = search.extension.automaton.graph
        if graph is not None:
            arcs = arcs.long()
            self.outputs, self.graph_scores = graph.output[arcs].tolist(), graph.score[arcs].tolist()

    def path(self, node: int) -> list[int]:
        """The nodes of a text, from its first token to `node`, its last."""
        path = []
        while node >= 0:
            path.append(node)
            node = self.parents[node]
        return path[::-1]

    def tokens(self, path: Sequence[int], utterance: int) -> tuple[Token, ...]:
        """The tokens of a path of `path`."""
        begin = self.begins[utterance]
        return tuple(Token(self.ids[n], self.rows[n] - begin, self.durations[n], self.confidences[n]) for n in path)
