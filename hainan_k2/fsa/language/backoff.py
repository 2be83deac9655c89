"""Acceptors without back-off arcs.

A state of an n-gram model has few arcs of its own and one back-off arc to a state that has more. Were the arcs copied
forward, every history would get those of all words. So they are copied backward: an arc into a history gets a twin
into every history that can be backed off to from there, at most order - 1 of them. (The grammars' remove_epsilons
copies forward, because outputs have to stay before the tokens that they belong to.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hainan_k2.fsa.language.acceptor import Acceptor

_MAX_ARCS = 2**28  # 4 GB of them in k2


def expand_backoffs(acceptor: Acceptor, epsilons: Sequence[int]) -> Acceptor:
    """The same sentences with the same best scores, without arcs of the labels `epsilons`.

        (h) --- #0 : b ---> (h')   and   (g) --- w : s ---> (h)   add   (g) --- w : s + b ---> (h')

    State 0 of the result is a new start. It has the arcs of the old start, which is state 1, and of the states that
    epsilons lead to from there.

    Args:
      epsilons: the labels of back-off arcs and other epsilons.
    Raises:
      ValueError: for a cycle of epsilons, or for more than 2^28 arcs.
    """
    silent = np.isin(acceptor.label, epsilons)
    backoffs = (acceptor.source[silent], acceptor.target[silent], acceptor.score[silent])
    origin, lower, weight = _closure(*backoffs, len(acceptor.final))
    arcs = np.stack([acceptor.source, acceptor.target, acceptor.label], axis=1)[~silent]
    score = acceptor.score[~silent]
    arc, way = join(arcs[:, 1], origin)
    twins = np.stack([arcs[arc, 0], lower[way], arcs[arc, 2]], axis=1)
    arcs, score = np.concatenate([arcs, twins]), np.concatenate([score, score[arc] + weight[way]])

    begin = np.full_like(acceptor.final, -math.inf)  # the best score of epsilons from the old start to every state
    begin[0] = 0.0
    np.maximum.at(begin, lower[origin == 0], weight[origin == 0])
    leaving = np.isfinite(begin[arcs[:, 0]])
    copies = np.stack([np.full(leaving.sum(), -1), *arcs[leaving, 1:].T], axis=1)
    score = np.concatenate([score[leaving] + begin[arcs[leaving, 0]], score])
    arcs = np.concatenate([copies, arcs]) + (1, 1, 0)
    source, target, label = arcs.T
    return Acceptor(source, target, label, score, np.append((begin + acceptor.final).max(), acceptor.final))


def _closure(
    source: np.ndarray, target: np.ndarray, score: np.ndarray, num_states: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every path along these arcs as one arc: (source, target, score), sources ascending.

    Of paths of equally many arcs from one state to another, only the best one. ValueError for a cycle.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    links = coo_matrix((np.ones(len(source)), (source, target)), (num_states, num_states))
    if (source == target).any() or connected_components(links, connection="strong")[0] < num_states:
        raise ValueError("the word graph has a cycle of epsilons or back-off arcs")
    order = np.argsort(source)
    source, target, score = source[order], target[order], score[order]
    ways = [(source, target, score)]
    while len(ways[-1][0]):
        start, middle, so_far = ways[-1]
        way, arc = join(middle, source)
        ends, which = np.unique(start[way] * num_states + target[arc], return_inverse=True)
        best = np.full(len(ends), -math.inf)
        np.maximum.at(best, which, so_far[way] + score[arc])
        ways.append((ends // num_states, ends % num_states, best))
    source, target, score = (np.concatenate(column) for column in zip(*ways))
    order = np.argsort(source)
    return source[order], target[order], score[order]


def join(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs (i, j) with left[i] == right[j], as two arrays; `right` ascends. ValueError for more than 2^28."""
    first = np.searchsorted(right, left)
    count = np.searchsorted(right, left, side="right") - first
    total = int(count.sum())
    if total > _MAX_ARCS:
        raise ValueError(
            f"the word graph would have about {total} arcs, at most {_MAX_ARCS} are built: prune the language model"
        )
    i = np.repeat(np.arange(len(left)), count)
    return i, np.arange(total) - (np.cumsum(count) - count - first)[i]
