"""LG: a language model over words, G, spelled out in tokens.

G is an acceptor over word ids, e.g. an n-gram model from `hainan-arpa-to-fst`: an arc h --- w ---> h' for every
n-gram, and `#0` (or epsilon) from a history to the one to back off to. LG has a state (h, p) for every history h
and every p that a word after h begins with; a word's arcs share those of the words that begin alike:

    (h, p) --- token : epsilon ---> (h, p token)          some word after h begins with `p token`
    (h, p) --- token : w ---> (h', empty)                 `p token` is a spelling of w, and h --- w ---> h'

The arcs of a word add up to its score in G; each bears as much as every word that goes on from it has in common, so
that a beam sees the language model's opinion at a word's first token. Every arc bears at most one word, on its
last token. Back-off arcs are epsilons, as in Kaldi: a sentence has the score of its best way through G, which may
back off where an n-gram is there. They are removed: an arc into h has twins into every history that h backs off
to. Nothing is determinized, so homophones and words that begin others need no disambiguation symbols.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hainan_k2.fsa.k2 import load_k2
from hainan_k2.fsa.language.acceptor import Acceptor, join, k2_arcs, remove_epsilons
from hainan_k2.fsa.language.lexicon import Lexicon


def spell_out(grammar: Acceptor, lexicon: Lexicon) -> tuple[Any, np.ndarray]:
    """LG as drawn above, and the words of those arcs of `grammar` that it lacks because they have no spelling.

    Args:
      grammar: an acceptor of word ids; its epsilons are those of Lexicon.epsilons.
    Returns:
      A k2.Fsa, connected and arc-sorted: labels are tokens, aux_labels word ids or 0; and
      (M,) int64, word ids, one for each arc left out.
    Raises:
      ValueError: if LG would be without words or too large, or `grammar` has a cycle of epsilons.
    """
    k2 = load_k2()
    words, trie = remove_epsilons(grammar, lexicon.epsilons()), _Trie.of(lexicon)
    arc, step = join(words.label, trie.word)
    history = words.source[arc] * trie.size  # state (h, p) is number h * size + the node of p
    source, target, score = history + trie.node[step], history + trie.child[step], words.score[arc]
    ends = trie.child[step] == 0
    (last,), (inner,) = ends.nonzero(), (~ends).nonzero()
    target[last] = words.target[arc[last]] * trie.size

    state, some, which = np.unique(target[inner], return_index=True, return_inverse=True)
    best = np.full(len(state) + 1, -math.inf)
    np.maximum.at(best, which, score[inner])  # of all words through the state
    row = np.concatenate([inner[some], last])
    given = np.where(source[row] % trie.size == 0, 0.0, best[np.searchsorted(state, source[row])])
    (final,) = np.isfinite(words.final).nonzero()
    table = np.stack(
        [
            np.concatenate([source[row], final * trie.size]),
            np.concatenate([target[row], np.full_like(final, len(words.final) * trie.size)]),
            np.concatenate([trie.piece[step[row]], np.full_like(final, -1)]),
            np.concatenate([np.zeros_like(some), words.label[arc[last]], np.full_like(final, -1)]),
        ],
        axis=1,
    )
    score = np.concatenate([np.concatenate([best[:-1], score[last]]) - given, words.final[final]])
    numbers = np.unique(np.append(0, table[:, :2]), return_inverse=True)[1]
    table[:, :2] = numbers.ravel()[1:].reshape(-1, 2)
    arcs, order = k2_arcs(table, score)
    graph = k2.connect(k2.Fsa(arcs, torch.from_numpy(table[order, 3].astype(np.int32))))
    if not graph.num_arcs or not (graph.labels > 0).any():
        raise ValueError("the word graph has no word that the lexicon can spell in any of its sentences")
    known = np.isin(grammar.label, [*lexicon.epsilons(), *(word for word, _ in lexicon.spellings)])
    return k2.arc_sort(graph), grammar.label[~known]


@dataclass(frozen=True, eq=False)
class _Trie:
    """The steps of all spellings, those of one word together: from `node` by `piece` to `child`, which is 0 after the
    last piece. Node 0 is the root; nodes are numbered below `size`."""

    word: np.ndarray  # (N,) int64, ascending, as all below
    node: np.ndarray
    piece: np.ndarray
    child: np.ndarray
    size: int

    @classmethod
    def of(cls, lexicon: Lexicon) -> _Trie:
        nodes: dict[tuple[int, ...], int] = {(): 0}
        steps = []
        for word, pieces in lexicon.spellings:
            for n, piece in enumerate(pieces):
                child = nodes.setdefault(pieces[: n + 1], len(nodes)) if n + 1 < len(pieces) else 0
                steps.append((word, nodes[pieces[:n]], piece, child))
        return cls(*np.array(steps, dtype=np.int64).T, size=len(nodes))
