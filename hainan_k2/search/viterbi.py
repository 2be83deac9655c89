"""Viterbi search: the best path of the non-autoregressive lattice, which the greedy walk only approximates.

The score is that path's weight, penalties and bonus included; a token's confidence is its posterior in the
lattice. Without a grammar a frame's best token is best on every path, so a few tokens per frame (`top_k`)
find the same path as all of them.

With hotwords it is the lattice's composition with their automaton (hotwords), pruned by `lattice_beam`
and `lattice_states`. A hotword is found where its tokens are among the `top_k` of their frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hainan_k2.fsa.language.scorers import Scorer
from hainan_k2.fsa.lattices.lm_lattice import lm_lattice
from hainan_k2.fsa.lattices.nar_lattice import nar_lattice
from hainan_k2.fsa.lattices.paths import hypotheses_from_lattice, path_tokens, shortest_path
from hainan_k2.result import Hypothesis
from hainan_k2.search.emissions import Emissions
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import NO_RESOURCES, DecodingResources


@torch.no_grad()
def viterbi(
    model, encoder_out: Tensor, lens: Tensor, options: SearchConfig, resources: DecodingResources = NO_RESOURCES
) -> list[Hypothesis]:
    """The best paths of encoder_out (B, T, C), lens (B,)."""
    lattice = make_lattice(model, model.joiner.project_encoder(encoder_out), lens, options, resources)
    return hypotheses_from_lattice(shortest_path(lattice), lens, lattice)


def make_lattice(
    model,
    projected: Tensor,
    lens: Tensor,
    options: SearchConfig,
    resources: DecodingResources = NO_RESOURCES,
    scorers: Sequence[tuple[Scorer, float]] = (),
):
    """nar_lattice of projected encoder output (B, T, J), with this search's options and hotwords, and with `scorers` of
    lm_lattice."""
    args = (*model.joiner.log_probs(projected, None), lens, model.durations)
    priors = dict(
        top_k=options.top_k,
        duration_scale=options.duration_scale,
        blank_penalty=options.blank_penalty,
        token_bonus=options.token_bonus,
    )
    if resources.hotwords is not None:
        scorers = [*scorers, (resources.hotwords, options.hotword_scale)]
    if not any(weight for _, weight in scorers):
        return nar_lattice(*args, **priors)
    return lm_lattice(*args, scorers, beam=options.lattice_beam, max_active=options.lattice_states, **priors)


def viterbi_emissions(
    model, projected: Tensor, lens: Tensor, options: SearchConfig, resources: DecodingResources = NO_RESOURCES
) -> Emissions:
    """The tokens on the best paths, for a search that goes on from them; the confidences are left at 1."""
    best = shortest_path(make_lattice(model, projected, lens, options, resources))
    utterance, token, frame, duration = path_tokens(best)
    score = best.get_tot_scores(use_double_scores=True, log_semiring=False)
    return Emissions(utterance, token, frame, duration, torch.ones_like(score[utterance]), score)
