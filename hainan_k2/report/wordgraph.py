"""An n-best list as a small graph: a word that several texts have at the same time is one node.

    (so) --- 1 --- (we) --- 0.7 --- (ask) --- 0.7 --- (not)
                     \\---- 0.3 --- (asked) - 0.3 ----/

A node is a word with its times. The mass of a node or an edge is the total probability of the texts that pass through
it, within the list.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

from hainan_k2.result import Hypothesis, Word


@dataclass(frozen=True)
class Node:
    """A word: `start` and `end` in seconds, from the best text that has it, and its `mass` in [0, 1]."""

    text: str
    start: float
    end: float
    mass: float


@dataclass(frozen=True)
class WordGraph:
    """The nodes, those of the best text first, and the mass of each edge: {(node, next node): mass}."""

    nodes: tuple[Node, ...]
    edges: dict[tuple[int, int], float]


def shares(paths: Sequence[Hypothesis]) -> list[float]:
    """The probability of each text within the list: softmax of the scores, which are natural logarithms. A text with
    score -inf has probability 0."""
    best = max((path.score for path in paths), default=0.0)
    weights = [exp(path.score - best) if path.score > float("-inf") else 0.0 for path in paths]
    return [weight / max(sum(weights), 1e-300) for weight in weights]


def word_graph(paths: Sequence[Hypothesis]) -> WordGraph:
    """Merge texts, best first, into a graph.

    A word joins the node of the same word that it overlaps most in time; without an overlap it gets a new node.
    """
    nodes: list[Word] = []
    mass: dict[int, float] = defaultdict(float)
    edges: dict[tuple[int, int], float] = defaultdict(float)
    for path, share in zip(paths, shares(paths)):
        before, visited = -1, set[int]()
        for word in path.words:
            same = [
                (_overlap(word, node), i) for i, node in enumerate(nodes) if node.text == word.text and i not in visited
            ]
            overlap, at = max(same, default=(0.0, 0))
            if overlap <= 0:
                at = len(nodes)
                nodes.append(word)
            visited.add(at)
            mass[at] += share
            if before >= 0:
                edges[before, at] += share
            before = at
    return WordGraph(tuple(Node(n.text, n.start, n.end, mass[i]) for i, n in enumerate(nodes)), dict(edges))


def _overlap(a: Word, b: Word) -> float:
    """Overlap of two words in seconds; positive for words of equal times, even if these have no length."""
    if (a.start, a.end) == (b.start, b.end):
        return max(a.end - a.start, 1e-9)
    return min(a.end, b.end) - max(a.start, b.start)
