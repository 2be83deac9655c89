"""An n-best list as a small graph: words that several texts share at the same time are one node.

    (so) --- 1 --- (we) --- 0.7 --- (ask) --- 0.7 --- (not)
                     \\---- 0.3 --- (asked) - 0.3 ----/

A node is a word and when it is said. Its mass, and that of an edge, is the share of the list's probability that goes
through it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

from hainan_k2.result import Hypothesis, Word


@dataclass(frozen=True)
class Node:
    text: str
    start: float  # seconds, as in the best of its texts
    end: float
    mass: float


@dataclass(frozen=True)
class WordGraph:
    """Nodes, those of the best text first, and {(node, next node): mass}."""

    nodes: tuple[Node, ...]
    edges: dict[tuple[int, int], float]


def shares(paths: Sequence[Hypothesis]) -> list[float]:
    """The probability of every text if one of them is said: softmax of the scores, natural logarithms. Texts without
    finite score have none."""
    best = max((path.score for path in paths), default=0.0)
    weights = [exp(path.score - best) if path.score > float("-inf") else 0.0 for path in paths]
    return [weight / max(sum(weights), 1e-300) for weight in weights]


def word_graph(paths: Sequence[Hypothesis]) -> WordGraph:
    """The graph of texts, the best first. A word joins the node of the same word that it overlaps most in time."""
    nodes: list[Word] = []
    mass: dict[int, float] = defaultdict(float)
    edges: dict[tuple[int, int], float] = defaultdict(float)
    for path, share in zip(paths, shares(paths)):
        before, visited = -1, set()
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
    """Seconds that two words share; for equal times more than nothing even where they last no time."""
    if (a.start, a.end) == (b.start, b.end):
        return max(a.end - a.start, 1e-9)
    return min(a.end, b.end) - max(a.start, b.start)
