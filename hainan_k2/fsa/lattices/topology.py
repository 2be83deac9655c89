"""The TDT topology: with it k2's pruned dense search, made for CTC, searches tokens with durations.

**Dense matrix.** Every encoder frame becomes two rows, first for its token, then for its duration, with V + D + 1
columns: column v is token v, column V + i is the i-th duration, the last column is `skip`.

    row        token 0 ... V-1      duration 0 ... D-1      skip
    2t         log P_T(v | t)       -inf                    0
    2t + 1     -inf                 score of d at t         0

**Topology.** It defines which columns may follow each other. Labels are columns; aux labels are tokens, with epsilon
for blank and all other columns.

    states   0       the next row is a token row
             1       the next row is a duration row
             1 + k   k more rows are skipped, k = 1 ... 2 (longest duration - 1)
    start    0
    final    one state of its own, the last
    arcs     (0)     -- v : v -->              (1)                  every token v, also blank
             (1)     -- V + i : epsilon -->    (0)                  durations 0 and 1
             (1)     -- V + i : epsilon -->    (1 + 2 (d - 1))      durations d > 1: skip the d - 1 frames between
             (1 + k) -- skip : epsilon -->     (k), or (0) if k = 1
             (0), (1 + 2j) -- -1 -->           (final)              between two frames

    Durations 0, 1, 2:

    (0) -- v : v --> (1) -- d = 0, 1 --> (0)                                     (0) and (3) -- -1 --> ((4))
                     (1) -- d = 2 --> (3) -- skip --> (2) -- skip --> (0)

An utterance of T frames ends after 2T rows in any state between two frames, so durations that overshoot end at T.
Alone, the topology accepts the paths of nar_lattice; composed with a graph over tokens, those that the graph allows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.fsa.checks import check_durations
from hainan_k2.fsa.k2 import DenseFsaVec, Fsa, load_k2

_MAX_ARCS = 2**31 - 1  # k2 counts arcs in int32


def tdt_topo(vocab_size: int, durations: Sequence[int]) -> Fsa:
    """The topology of the module's docstring as an arc-sorted k2.Fsa with aux_labels.

    Args:
      vocab_size: V, including blank (0).
      durations: the D durations in frames.
    Raises:
      ValueError: if there is no token beside blank, or for durations that are not ascending and non-negative.
    """
    k2 = load_k2()
    if vocab_size < 2:
        raise ValueError(f"vocab_size is {vocab_size}: there should be a token beside blank")
    steps = [max(1, duration) for duration in check_durations(durations, rnnt=True)]
    skip, chain = vocab_size + len(steps), 2 * (max(steps) - 1)
    final = chain + 2
    arcs = [(0, 1, v, v) for v in range(vocab_size)] + [(0, final, -1, -1)]
    arcs += [(1, 1 + 2 * (step - 1) if step > 1 else 0, vocab_size + i, BLANK) for i, step in enumerate(steps)]
    for k in range(1, chain + 1):
        arcs.append((1 + k, k if k > 1 else 0, skip, BLANK))
        if k % 2 == 0:  # between two frames
            arcs.append((1 + k, final, -1, -1))
    table = torch.tensor(arcs, dtype=torch.int32)
    return k2.Fsa(torch.cat([table[:, :3], torch.zeros_like(table[:, :1])], dim=1), table[:, 3].contiguous())


def compile_tdt_graph(graph: Fsa, vocab_size: int, durations: Sequence[int]) -> Fsa:
    """The topology composed with a graph over tokens, for `intersect_tdt`.

        states   (p, q): topology state p, graph state q
        start    (0, start of the graph)
        final    (final, final)
        arcs     (0, q) -- v, a label of the graph -->     (1, q after v)
                 (p, q) -- blank or another column -->     (p after it, q)

    Args:
      graph: a k2.Fsa without epsilons (k2.remove_epsilon) whose labels are tokens 1 ... V - 1. The token arcs keep its
        other attributes.
    Returns:
      A k2.Fsa, connected and arc-sorted, whose labels are columns of the dense matrix; it has no arcs if the graph is
      empty.
    Raises:
      ValueError: for labels that are not tokens, and for a result with more arcs than k2 can count.
    """
    k2 = load_k2()
    topology = tdt_topo(vocab_size, durations)
    wrong = (graph.labels == BLANK) | (graph.labels < -1) | (graph.labels >= vocab_size)
    if wrong.any():
        raise ValueError(
            f"the graph has label {int(graph.labels[wrong][0])}: labels should be tokens 1 ... "
            f"{vocab_size - 1}, epsilons removed"
        )
    estimate = graph.num_arcs + graph.shape[0] * (topology.num_arcs - vocab_size)
    if estimate > _MAX_ARCS:
        raise ValueError(
            f"a graph of {graph.shape[0]} states and {graph.num_arcs} arcs would have {estimate} with "
            f"durations {tuple(durations)}, k2 counts to {_MAX_ARCS}: prune the language model"
        )
    composed = k2.compose(topology, k2.arc_sort(graph))
    return k2.arc_sort(k2.connect(composed))


def tdt_dense(
    token_log_probs: Tensor,
    duration_scores: Tensor,
    frame_lens: Tensor,
    blank_penalty: float = 0.0,
    token_bonus: float = 0.0,
) -> DenseFsaVec:
    """The dense matrices of a batch, laid out as in the module's docstring, as a k2.DenseFsaVec.

    Args:
      token_log_probs: (B, T, V) log P_T, natural log, blank = 0.
      duration_scores: (B, T, D), of hainan_k2.fsa.lattices.duration_scores.
      frame_lens: (B,) number of frames of every utterance, at least 1; later frames are never read.
      blank_penalty, token_bonus: as for nar_lattice.
    Raises:
      ValueError: for sizes that do not fit, and for an utterance without frames, which k2 cannot represent.
    """
    k2 = load_k2()
    batch, longest, vocab_size = token_log_probs.shape
    counts = frame_lens.tolist()
    if duration_scores.shape[:2] != (batch, longest):
        raise ValueError(
            f"token_log_probs {tuple(token_log_probs.shape)} and duration_scores "
            f"{tuple(duration_scores.shape)} should be (B, T, V) and (B, T, D)"
        )
    if len(counts) != batch or not batch or not 1 <= min(counts) <= max(counts) <= longest:
        raise ValueError(f"frame_lens {counts} should be {batch} lengths of 1 to {longest} frames")
    last = vocab_size + duration_scores.shape[2]
    rows = token_log_probs.new_full((batch, longest, 2, last + 1), -torch.inf, dtype=torch.float32)
    rows[:, :, 0, :vocab_size] = token_log_probs + token_bonus
    rows[:, :, 0, BLANK] = token_log_probs[:, :, BLANK] - blank_penalty
    rows[:, :, 1, vocab_size:last] = duration_scores
    rows[:, :, :, last] = 0.0
    segments = torch.tensor([(i, 0, 2 * count) for i, count in enumerate(counts)], dtype=torch.int32)
    return k2.DenseFsaVec(rows.flatten(1, 2), segments)


def intersect_tdt(
    graph: Fsa,
    dense: DenseFsaVec,
    vocab_size: int,
    durations: Sequence[int],
    search_beam: float,
    output_beam: float,
    min_active_states: int,
    max_active_states: int,
) -> Fsa:
    """The lattice of the paths of `dense` that `graph` allows, pruned by k2.intersect_dense_pruned.

        states   (r, p): row r = 0 ... 2T of the dense matrix, state p of the graph
        start    (0, start of the graph)
        final    one state of its own, after row 2T
        arcs     (r, p) -- token, or epsilon : column's score + graph's score -->     (r + 1, p after the column)

    Args:
      graph: from compile_tdt_graph, or tdt_topo itself.
      dense: from tdt_dense.
      search_beam, output_beam, min_active_states, max_active_states: as for k2.intersect_dense_pruned.
    Returns:
      A k2.Fsa (FsaVec of B) with the attributes of nar_lattice, `frame` on token arcs and `duration` on duration arcs,
      -1 elsewhere, so that path_tokens and hypotheses_from_lattice work on it. An utterance has no states if the graph
      or the beam leaves it no path.
    """
    k2 = load_k2()
    lattice = k2.intersect_dense_pruned(
        graph, dense, search_beam, output_beam, min_active_states, max_active_states, frame_idx_name="row"
    )
    column, filler = lattice.labels, torch.full_like(lattice.labels, -1)
    duration_of = torch.tensor([*durations, -1], dtype=torch.int32, device=column.device)  # -1: skip has none
    no_token = column >= vocab_size
    lattice.frame = torch.where((column >= 0) & ~no_token, lattice.row.div(2, rounding_mode="floor"), filler)
    lattice.duration = torch.where(no_token, duration_of[(column - vocab_size).clamp(min=0).long()], filler)
    lattice.labels = torch.where(no_token, torch.full_like(column, BLANK), column)
    del lattice.row
    return lattice
