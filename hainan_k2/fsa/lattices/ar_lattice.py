"""The lattice of an autoregressive search: every arc between the states that its beam has kept.

    states   (t, n, c, q): frame t, n tokens emitted on it already, predictor context c, automaton state q,
             in order of (t, n); and a final state
    start    (0, 0, SOS, start of the automaton)
    final    one state of its own, the last
    arcs     (t, n, c, q) -- v : log P_T(v | t, c) + w log P_D(d | t, c) + A(v | q) --> (min(T, t + d), n', c v, q v)
             (t, n, c, q) -- epsilon : log P_T(blank | t, c) + w log P_D(d | t, c) -->  (min(T, t + max(1, d)), 0, c, q)
             (T, 0, c, q) -- -1 : A(end | q) -->                                        (final)

A is the score of the automaton: n-gram LM, hotwords, grammar or word graph with their weights, 0 where there is none. A
token of duration 0 stays on t with n' = n + 1, until it is the `max_symbols`-th of the frame and moves to t + 1; every
other arc has n' = 0. So the lattice has no cycles. A context c is the last tokens that the search tells apart: all of
them, so that the states form a tree joined at equal (t, n); or a few, which is exact for a stateless predictor.

The arcs have the attributes of every lattice, `frame` t and `duration` d, -1 on the final arcs; `lm_scores`, the part A
of the scores; and `aux_labels`, the outputs of the grammar or graph, otherwise the labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hainan_k2.fsa.fsavec import ragged_arcs
from hainan_k2.fsa.k2 import Fsa, load_k2


@dataclass(frozen=True)
class ArArcs:
    """The S states and A arcs of the lattices of B utterances, in any order; the first B states are the starts.

    Scores are float64, natural log. States from which no path leads to the end are allowed.
    """

    utterance: Tensor  # (S,)
    frame: Tensor  # (S,)
    count: Tensor  # (S,) tokens emitted on the frame
    final: Tensor  # (S,) float64, score of the end; -inf where a state is not final
    source: Tensor  # (A,)
    target: Tensor  # (A,)
    label: Tensor  # (A,) token, 0 for blank
    duration: Tensor  # (A,) frames
    aux_label: Tensor  # (A,)
    model_score: Tensor  # (A,) float64
    lm_score: Tensor  # (A,) float64, the automaton's


def ar_lattice(arcs: ArArcs, batch: int) -> Fsa:
    """The lattices as a k2.Fsa (FsaVec of B), topologically sorted and connected.

    An utterance has no states if no path leads to its end. Paths, n-best lists, confidences, drawing and storing work
    as on every lattice. hainan_k2.search.beam.make_ar_lattice makes them from encoder frames.
    """
    k2 = load_k2()
    device = arcs.utterance.device
    order = _order(arcs)
    number = torch.empty_like(order).index_copy_(0, order, torch.arange(len(order), device=device))
    sizes = torch.bincount(arcs.utterance, minlength=batch)
    number -= (sizes.cumsum(0) - sizes)[arcs.utterance]  # within the utterance
    end = (arcs.final > -torch.inf).nonzero()[:, 0]

    origin = torch.cat([arcs.source, end])
    target = torch.cat([number[arcs.target], sizes[arcs.utterance[end]]])
    label = torch.cat([arcs.label, torch.full_like(end, -1)])
    num_states = sizes + 1
    first = num_states.cumsum(0) - num_states
    state, order = (first[arcs.utterance[origin]] + number[origin]).sort(stable=True)
    table = torch.stack([number[origin], target, label, torch.zeros_like(label)], dim=1)[order].int()
    leaving = torch.bincount(state, minlength=int(num_states.sum()))

    lattice = k2.Fsa(ragged_arcs(num_states, leaving, table))
    final = arcs.final[end]
    lattice.scores = torch.cat([arcs.model_score + arcs.lm_score, final])[order].float()
    lattice.lm_scores = torch.cat([arcs.lm_score, final])[order].float()
    filler = torch.full_like(end, -1)
    lattice.frame = torch.cat([arcs.frame[arcs.source], filler])[order].int()
    lattice.duration = torch.cat([arcs.duration, filler])[order].int()
    lattice.aux_labels = torch.cat([arcs.aux_label, filler])[order].int()
    lattice.frame_filler = lattice.duration_filler = -1
    return k2.connect(lattice)


def _order(arcs: ArArcs) -> Tensor:
    """(S,) the states by utterance, frame and count; the start of an utterance is the first of its states."""
    span = int(arcs.frame.max()) + 1
    most = int(arcs.count.max()) + 1
    return ((arcs.utterance * span + arcs.frame) * most + arcs.count).sort(stable=True).indices
