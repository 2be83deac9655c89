"""CTC decoding with a word graph: LG composed with k2's CTC topology, known as HLG, and searched by k2.

    states   (l, q): l the label of the frame before, 0 where it was blank; q a state of LG
    start    (0, start of LG)
    final    (l, q) lead to a final state of their own where q is final
    arcs     (l, q) -- v : LG's score -->    (v, q after v)     a token v other than l
             (l, q) -- l : 0 -->             (l, q)             l goes on, l > 0
             (l, q) -- blank : 0 -->         (0, q)

Labels are those of CTC, one on every frame; aux_labels are LG's words. The attribute `tokens` has v on the arcs of the
first kind, and 0 on the others.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.fsa.k2 import DenseFsaVec, Fsa, load_k2


def compile_ctc_graph(graph: Fsa, vocab_size: int) -> Fsa:
    """The CTC topology composed with LG, as in the module's docstring, for `intersect_ctc`.

    Args:
      graph: a k2.Fsa without epsilons whose labels are tokens 1 ... V - 1.
      vocab_size: V, including blank (0).
    """
    k2 = load_k2()
    composed = k2.compose(k2.ctc_topo(vocab_size - 1), k2.arc_sort(graph), inner_labels="tokens")
    return k2.arc_sort(k2.connect(composed))


def ctc_dense(log_probs: Tensor, frame_lens: Tensor, blank_penalty: float = 0.0) -> DenseFsaVec:
    """Log-probabilities (B, T, V) of the CTC head as a k2.DenseFsaVec; frame_lens (B,) are at least 1."""
    k2 = load_k2()
    counts, longest = frame_lens.tolist(), log_probs.shape[1]
    if len(counts) != len(log_probs) or not counts or not 1 <= min(counts) <= max(counts) <= longest:
        raise ValueError(f"frame_lens {counts} should be {len(log_probs)} lengths of 1 to {longest} frames")
    rows = log_probs.to(torch.float32, copy=True)
    rows[:, :, BLANK] -= blank_penalty
    segments = torch.tensor([(i, 0, count) for i, count in enumerate(counts)], dtype=torch.int32)
    return k2.DenseFsaVec(rows, segments)


def intersect_ctc(
    graph: Fsa,
    dense: DenseFsaVec,
    search_beam: float,
    output_beam: float,
    min_active_states: int,
    max_active_states: int,
) -> Fsa:
    """The lattice of the paths of `dense` that `graph` allows, pruned by k2.intersect_dense_pruned.

    Args:
      graph: from compile_ctc_graph.
      dense: from ctc_dense.
      search_beam, output_beam, min_active_states, max_active_states: as for k2.intersect_dense_pruned.
    Returns:
      A k2.Fsa (FsaVec of B), connected and topologically sorted. Labels are tokens, on the first arc of each, and
      epsilon on blanks and repetitions. `frame` is the frame of a token; `duration` is 1 on arcs of a token or of its
      repetition and -1 elsewhere (hainan_k2.fsa.lattices.ctc_lattice.run_lengths). An utterance has no states if the
      graph or the beam leaves it no path.
    """
    k2 = load_k2()
    lattice = k2.intersect_dense_pruned(
        graph, dense, search_beam, output_beam, min_active_states, max_active_states, frame_idx_name="row"
    )
    filler = torch.full_like(lattice.labels, -1)
    lattice.frame = torch.where(lattice.tokens > BLANK, lattice.row, filler)
    lattice.duration = torch.where(lattice.labels > BLANK, torch.ones_like(filler), filler)
    lattice.labels = torch.where(lattice.labels == -1, filler, lattice.tokens)
    del lattice.row, lattice.tokens
    return lattice
