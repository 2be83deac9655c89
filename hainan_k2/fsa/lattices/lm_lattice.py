"""The NAR lattice composed with language models or hotwords, pruned, as k2 lattices.

    states   (t, q): frame t = 0 ... T and LM state q, in order of frames; and a final state
    start    (0, start of the LM)
    final    one state of its own, the last
    arcs     (t, q) -- v : log P_T(v | t) + w log P_D(d | t) + LM(v | q) -->  (min(T, t + max(1, d)), q after v)
             (T, q) -- -1 : LM(</s> | q) -->                                  (final)

A blank has LM score 0 and leaves q as it is. hainan_k2.fsa.lattices.lm_search finds the states and arcs; those that lie
on no path to the final state are removed here.

A token and its duration are one arc, which carries both attributes, `frame` t and `duration` d, with the same meaning
as in nar_lattice. shortest_path, path_tokens, token_posteriors and hypotheses_from_lattice therefore work on both.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hainan_k2.fsa.k2 import Fsa
from hainan_k2.fsa.language.scorers import Scorer, WeightedScorers
from hainan_k2.fsa.lattices.arcs import Arcs
from hainan_k2.fsa.lattices.lm_search import Composition, compose_pruned, survivors
from hainan_k2.fsa.lattices.nar_lattice import Tables, make_tables


def lm_lattice(
    token_log_probs: Tensor,
    duration_log_probs: Tensor,
    frame_lens: Tensor,
    durations: Sequence[int],
    scorers: Sequence[tuple[Scorer, float]],
    top_k: int | None = 8,
    beam: float = 8.0,
    max_active: int = 32,
    duration_scale: float = 1.0,
    blank_penalty: float = 0.0,
    token_bonus: float = 0.0,
    skip_scale: float = 0.0,
) -> Fsa:
    """nar_lattice composed with weighted language models, pruned; states and arcs are those of the module's docstring.

    Args:
      token_log_probs, duration_log_probs, frame_lens, durations, top_k, duration_scale, blank_penalty, token_bonus,
        skip_scale: as for nar_lattice.
      scorers: (automaton, weight) pairs. An automaton is an NgramLm, a HotwordGraph or any other Scorer. A negative
        weight subtracts: [(lm, 0.3), (bigram, -0.1)] is density ratio fusion with a low-order LM.
      beam: paths that are worse than the utterance's best by more than this are dropped, natural log; inf keeps all.
      max_active: number of LM states, and of tokens emitted from them, kept on every frame of an utterance; up to twice
        as many with scorers that may take back a part of their score (HotwordGraph).
    Returns:
      A k2.Fsa (FsaVec of B), topologically sorted and connected, with gradients to the log-probabilities. An utterance
      has no states if the LM allows none of its paths.
    Raises:
      ValueError: as for nar_lattice, and if beam or max_active are not positive.

    >>> lm = NgramLm.read("lm.arpa", pieces)
    >>> lattice = lm_lattice(token_log_probs, duration_log_probs, frame_lens, durations, [(lm, 0.3)])
    """
    args = (top_k, duration_scale, blank_penalty, token_bonus, None, skip_scale)
    tables = make_tables(token_log_probs, duration_log_probs, frame_lens, durations, *args)
    return lm_arcs(tables, scorers, beam, max_active).fsa()


def lm_arcs(tables: Tables, scorers: Sequence[tuple[Scorer, float]], beam: float, max_active: int) -> Arcs:
    """The arcs of `lm_lattice`; arguments and errors as there."""
    if not beam > 0 or max_active < 1:
        raise ValueError(f"beam {beam} and max_active {max_active} should be above 0")
    composition = compose_pruned(tables, WeightedScorers(scorers, tables.lens.device), beam, max_active)
    return assemble(tables, composition, *survivors(composition, beam))[0]


def assemble(tables: Tables, composition: Composition, arrivals: Tensor, finals: Tensor) -> tuple[Arcs, Tensor]:
    """The arcs of these arrivals (A,) bool and final states (S,) bool of the composition, and the emission of each arc,
    -1 for arcs into the final state.
    """
    emission, target = composition.emission[arrivals], composition.target[arrivals]
    row = torch.div(composition.slot[emission], tables.labels.shape[1], rounding_mode="floor")
    which, index = (tables.arrival[row] == composition.frame[target, None]).nonzero().unbind(1)  # fitting durations
    emission, target, row = emission[which], target[which], row[which]
    slot, source, end = composition.slot[emission], composition.source[emission], finals.nonzero()[:, 0]
    number, num_states = _number(composition, torch.cat([source, end]), len(tables.lens))
    first = num_states.cumsum(0) - num_states

    utterance = composition.utterance[torch.cat([source, end])]
    target = torch.cat([number[target], num_states[composition.utterance[end]] - 1])
    layer = tables.lens.repeat_interleave(num_states) + 1  # of final states
    layer[first[utterance] + number[torch.cat([source, end])]] = composition.frame[torch.cat([source, end])]
    source = number[torch.cat([source, end])]
    label = torch.cat([tables.labels.take(slot), torch.full_like(end, -1)])
    state, order = (first[utterance] + source).sort(stable=True)
    leaving = torch.bincount(state, minlength=len(layer))

    lm_score = torch.cat([composition.lm_score[emission], composition.final[end]])
    score = tables.token_scores.take(slot) + tables.duration_scores[row, index]
    score = torch.cat([score, score.new_zeros(len(end))])
    filler = torch.full_like(end, -1)
    frame, duration = torch.cat([tables.time[row], filler]), torch.cat([tables.durations[index], filler])
    scores = (score + lm_score).float(), frame, duration, lm_score.float()
    arcs = Arcs(num_states, leaving, layer, *(column[order] for column in (source, target, label, *scores)))
    return arcs, torch.cat([emission, filler])[order]


def _number(composition: Composition, used: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """(S,) numbers of the used states within their utterances, and (B,) states per utterance with the final one."""
    is_used = torch.zeros_like(composition.frame, dtype=torch.bool).index_fill_(0, used, True)
    used = is_used.nonzero()[:, 0]
    owner, order = composition.utterance[used].sort(stable=True)
    counts = torch.bincount(owner, minlength=batch)
    number = torch.zeros_like(composition.frame)
    number[used[order]] = torch.arange(len(owner), device=owner.device) - (counts.cumsum(0) - counts)[owner]
    return number, counts + (counts > 0)
