"""LG: a language model over words, G, with every word spelled in tokens.

G is an acceptor over word ids, for example an n-gram model from `hainan-arpa-to-fst`: an arc h --- w ---> h' for every
n-gram, and `#0` (or epsilon) from a history to a shorter one. LG has a state (h, p) for every history h and every
prefix p of a spelling of the words after h. The start is (start of G, empty); (h, empty) is final where h is. Words
whose spellings begin alike share arcs:

    (h, p) --- token : epsilon ---> (h, p token)          some word after h begins with `p token`
    (h, p) --- token : w ---> (h', empty)                 `p token` is a spelling of w, and h --- w ---> h'

The scores of a word's arcs add up to its score in G. Scores are pushed forward: the arcs up to p have, in sum, the best
score of the words that continue p, so that a beam search applies the language model from the first token of a word on.
The output of a word is on the arc of its last token. Back-off arcs are epsilons, as in Kaldi: a sentence has the score
of its best path through G, which may back off although the n-gram is there; backoff.expand_backoffs removes them. LG is
not determinized, so homophones, and words that begin other words, need no disambiguation symbols.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from hainan_k2.fsa.k2 import Fsa, load_k2
from hainan_k2.fsa.language.acceptor import Acceptor, k2_arcs
from hainan_k2.fsa.language.backoff import expand_backoffs, join
from hainan_k2.fsa.language.lexicon import Lexicon


def spell_out(grammar: Acceptor, lexicon: Lexicon) -> tuple[Fsa, np.ndarray]:
    """LG as drawn above, and the words of `grammar` that are left out because they have no spelling.

    Args:
      grammar: an acceptor of word ids; its epsilons are those of Lexicon.epsilons.
    Returns:
      A k2.Fsa, connected and arc-sorted: labels are tokens, aux_labels word ids or 0; and
      (M,) int64, word ids, one for each arc that is left out.
    Raises:
      ValueError: if LG would have no word or more than 2^28 arcs, or `grammar` has a cycle of epsilons.
    """
    k2 = load_k2()
    words, trie = expand_backoffs(grammar, lexicon.epsilons()), _Trie.of(lexicon)
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
    """The prefix tree of all spellings, as N steps: from `node` by `piece` to `child`.

    Node 0 is the root; nodes are numbered below `size`. The child is 0 after the last piece of a word.
    """

    word: np.ndarray  # (N,) int64, ascending; the other columns have the same shape and type
    node: np.ndarray
    piece: np.ndarray
    child: np.ndarray
    size: int

    @classmethod
    def of(cls, lexicon: Lexicon) -> _Trie:
        nodes: dict[tuple[int, ...], int] = {(): 0}
        steps = []
        for word_id, pieces in lexicon.spellings:
            for n, token in enumerate(pieces):
                after = nodes.setdefault(pieces[: n + 1], len(nodes)) if n + 1 < len(pieces) else 0
                steps.append((word_id, nodes[pieces[:n]], token, after))
        word, node, piece, child = np.array(steps, dtype=np.int64).T
        return cls(word, node, piece, child, len(nodes))
