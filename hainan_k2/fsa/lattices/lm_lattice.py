"""The NAR lattice composed with language models, pruned, as k2 lattices: what hainan_k2.fsa.lattices.lm_search finds.

    (t, q) --- v : log P_T(v | t) + w log P_D(d | t) + LM(v | q) ---> (min(T, t + max(1, d)), q after v)
    (T, q) --- -1 : LM(</s> | q) ---> (final)

States are in order of frames, the first is (0, start of the LM), the last one final. A token and a duration are one
arc here, which has both attributes, `frame` t and `duration` d, with the same meaning as in nar_lattice. So
shortest_path, path_tokens, token_posteriors and hypotheses_from_lattice work on either.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hainan_k2.fsa.fsavec import ragged_arcs
from hainan_k2.fsa.k2 import load_k2
from hainan_k2.fsa.language.scorers import Scorer, WeightedScorers
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
):
    """What survives of nar_lattice composed with weighted language models.

    Args:
      token_log_probs, duration_log_probs, frame_lens, durations, top_k, duration_scale, blank_penalty, token_bonus: as
        of nar_lattice.
      scorers: (automaton, weight) pairs; an automaton is an NgramLm, or anything with its start, num_states, advance,
        final and to. [(lm, 0.3), (bigram, -0.1)] subtracts a low-order LM, as density ratio fusion does.
      beam: natural log; paths that are worse than the utterance's best by more are dropped. infinity: none.
      max_active: LM states, and tokens said in them, kept at every frame of an utterance; up to twice as many with
        scorers that take back what they gave (HotwordGraph).
    Returns:
      A k2.Fsa (FsaVec of B), topologically sorted and connected. It carries gradients to the log-probabilities. An
      utterance has no states where the LM allows nothing that the lattice holds.
    Raises:
      ValueError: as nar_lattice; where beam or max_active are not positive.
    """
    if not beam > 0 or max_active < 1:
        raise ValueError(f"beam {beam} and max_active {max_active} should be above 0")
    args = (top_k, duration_scale, blank_penalty, token_bonus)
    tables = make_tables(token_log_probs, duration_log_probs, frame_lens, durations, *args)
    found = compose_pruned(tables, WeightedScorers(scorers, tables.lens.device), beam, max_active)
    return _assemble(tables, torch.tensor(durations, device=tables.lens.device), found, *survivors(found, beam))


def _assemble(tables: Tables, durations: Tensor, found: Composition, landings: Tensor, finals: Tensor):
    """The FsaVec of landings (A,) bool and final states (S,) bool."""
    k2 = load_k2()
    said, target = found.said[landings], found.target[landings]
    row = torch.div(found.place[said], tables.labels.shape[1], rounding_mode="floor")
    which, index = (tables.landing[row] == found.frame[target, None]).nonzero().unbind(1)  # durations that lead there
    said, target, row = said[which], target[which], row[which]
    place, source, end = found.place[said], found.source[said], finals.nonzero()[:, 0]
    number, num_states = _number(found, torch.cat([source, end]), len(tables.lens))
    first = num_states.cumsum(0) - num_states

    utterance = found.utterance[torch.cat([source, end])]
    target = torch.cat([number[target], num_states[found.utterance[end]] - 1])
    source = number[torch.cat([source, end])]
    label = torch.cat([tables.labels.take(place), torch.full_like(end, -1)])
    state, order = (first[utterance] + source).sort(stable=True)
    arcs = torch.stack([source, target, label, torch.zeros_like(label)], dim=1)[order].int()
    leaving = torch.bincount(state, minlength=int(num_states.sum()))

    scores = tables.tokens.take(place) + tables.spoken[row, index] + found.lm_score[said]
    lattice = k2.Fsa(ragged_arcs(num_states, leaving, arcs))
    lattice.scores = torch.cat([scores, found.final[end]])[order].float()
    filler = torch.full_like(end, -1)
    lattice.frame = torch.cat([tables.time[row], filler])[order].int()
    lattice.duration = torch.cat([durations[index], filler])[order].int()
    lattice.frame_filler = lattice.duration_filler = -1
    return lattice


def _number(found: Composition, used: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """(S,) numbers of the used states within their utterances; (B,) states of the utterances, a final one with them."""
    used = torch.zeros_like(found.frame, dtype=torch.bool).index_fill_(0, used, True).nonzero()[:, 0]
    owner, order = found.utterance[used].sort(stable=True)
    counts = torch.bincount(owner, minlength=batch)
    number = torch.zeros_like(found.frame)
    number[used[order]] = torch.arange(len(owner), device=owner.device) - (counts.cumsum(0) - counts)[owner]
    return number, counts + (counts > 0)
