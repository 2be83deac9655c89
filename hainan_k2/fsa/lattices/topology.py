"""The TDT topology: the automaton that turns k2's dense search, made for CTC, into one for tokens with durations.

Every encoder frame becomes two rows of a dense matrix with V + D + 1 columns: a token row, then a duration row.
Column v is token v, column V + i the i-th duration, the last column `skip`.

    row        token 0 ... V-1      duration 0 ... D-1      skip
    2t         log P_T(v | t)       -inf                    0
    2t + 1     -inf                 w log P_D(d | t)        0

The topology says which columns may follow each other. State 0 stands before a token row, state 1 before a duration
row, state 1 + k has k rows left to skip, k <= 2 (longest - 1); aux labels are the tokens, blank and all the rest
epsilon.

    (0) --- v : v ---> (1)                                         every token v, blank too
    (1) --- V + i : epsilon ---> (0)                               durations 0 and 1
    (1) --- V + i : epsilon ---> (1 + 2 (d - 1))                   duration d > 1: the d - 1 frames between are skipped
    (1 + k) --- skip : epsilon ---> (k), or (0) if k = 1
    (0), (1 + 2j) --- -1 ---> (final)

An utterance of T frames ends after 2T rows wherever it stands, so durations that overshoot land on T. By itself the
topology accepts just what nar_lattice holds; composed with a graph over tokens it restricts that to
the graph, with the search of `k2.intersect_dense_pruned`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.fsa.checks import check_durations
from hainan_k2.fsa.k2 import load_k2

_MAX_ARCS = 2**31 - 1  # k2 counts arcs in int32


def tdt_topo(vocab_size: int, durations: Sequence[int]):
    """The topology as a k2.Fsa, arc-sorted: labels are columns of the dense matrix, aux_labels tokens.

    Args:
      vocab_size: V, blank (0) included.
      durations: the D durations in frames.
    Raises:
      ValueError: if there is no token beside blank or the durations are none.
    """
    k2 = load_k2()
    if vocab_size < 2:
        raise ValueError(f"vocab_size is {vocab_size}: there should be a token beside blank")
    steps = [max(1, duration) for duration in check_durations(durations)]
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


def compile_tdt_graph(graph, vocab_size: int, durations: Sequence[int]):
    """Topology composed with a graph over tokens: what `intersect_tdt` searches.

    Args:
      graph: a k2.Fsa whose labels are tokens 1 ... V - 1, free of epsilons (k2.remove_epsilon); its other attributes
        come along on the token arcs.
    Returns:
      A k2.Fsa, connected and arc-sorted, labels are columns of the dense matrix; without arcs where the graph is empty.
    Raises:
      ValueError: for labels that are no tokens, or a result of more arcs than k2 counts.
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
    duration_log_probs: Tensor,
    frame_lens: Tensor,
    duration_scale: float = 1.0,
    blank_penalty: float = 0.0,
    token_bonus: float = 0.0,
):
    """The dense matrices of a batch as a k2.DenseFsaVec.

    Args:
      token_log_probs: (B, T, V) log P_T, natural log, blank = 0.
      duration_log_probs: (B, T, D) log P_D.
      frame_lens: (B,) valid frames, at least one each; what lies behind is never read.
      duration_scale, blank_penalty, token_bonus: as of nar_lattice.
    Raises:
      ValueError: where sizes do not fit or an utterance has no frame, which k2 cannot hold.
    """
    k2 = load_k2()
    batch, longest, vocab_size = token_log_probs.shape
    counts = frame_lens.tolist()
    if duration_log_probs.shape[:2] != (batch, longest):
        raise ValueError(
            f"token_log_probs {tuple(token_log_probs.shape)} and duration_log_probs "
            f"{tuple(duration_log_probs.shape)} should be (B, T, V) and (B, T, D)"
        )
    if len(counts) != batch or not batch or not 1 <= min(counts) <= max(counts) <= longest:
        raise ValueError(f"frame_lens {counts} should be {batch} lengths of 1 to {longest} frames")
    last = vocab_size + duration_log_probs.shape[2]
    rows = token_log_probs.new_full((batch, longest, 2, last + 1), -torch.inf, dtype=torch.float32)
    rows[:, :, 0, :vocab_size] = token_log_probs + token_bonus
    rows[:, :, 0, BLANK] = token_log_probs[:, :, BLANK] - blank_penalty
    rows[:, :, 1, vocab_size:last] = duration_scale * duration_log_probs
    rows[:, :, :, last] = 0.0
    segments = torch.tensor([(i, 0, 2 * count) for i, count in enumerate(counts)], dtype=torch.int32)
    return k2.DenseFsaVec(rows.flatten(1, 2), segments)


def intersect_tdt(
    graph,
    dense,
    vocab_size: int,
    durations: Sequence[int],
    search_beam: float,
    output_beam: float,
    min_active_states: int,
    max_active_states: int,
):
    """The lattice of what `graph` allows of `dense`, pruned by k2.intersect_dense_pruned with the last four arguments.

    Args:
      graph: of compile_tdt_graph, or tdt_topo itself.
      dense: of tdt_dense.
    Returns:
      A k2.Fsa (FsaVec of B) like nar_lattice's: labels are tokens, elsewhere epsilon, and the int attributes `frame`
      (token arcs) and `duration` (duration arcs) are -1 elsewhere, so that path_tokens and hypotheses_from_lattice read
      it. An utterance that the graph or the beam leaves no path has no states.
    """
    k2 = load_k2()
    lattice = k2.intersect_dense_pruned(
        graph, dense, search_beam, output_beam, min_active_states, max_active_states, frame_idx_name="row"
    )
    column, nothing = lattice.labels, torch.full_like(lattice.labels, -1)
    value = torch.tensor([*durations, -1], dtype=torch.int32, device=column.device)  # of skip: no duration
    spoken = column >= vocab_size
    lattice.frame = torch.where((column >= 0) & ~spoken, lattice.row.div(2, rounding_mode="floor"), nothing)
    lattice.duration = torch.where(spoken, value[(column - vocab_size).clamp(min=0).long()], nothing)
    lattice.labels = torch.where(spoken, torch.full_like(column, BLANK), column)
    del lattice.row
    return lattice
