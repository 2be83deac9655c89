"""Viterbi search: the best path of the non-autoregressive lattice, which nar_greedy only approximates.

The score is the path's weight, with penalties and bonus. The confidence of a token is its posterior in the lattice.
Nothing in this lattice depends on the tokens before, so that the best token of a frame is on the best path through that
frame: a few tokens per frame (`top_k`) give the same path as all tokens.

With hotwords, the lattice is composed with their automaton, and pruned by `lattice_beam` and `lattice_states`. A
hotword is found only where its tokens are among the `top_k` of their frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hainan_k2.fsa.k2 import Fsa
from hainan_k2.fsa.language.scorers import Scorer
from hainan_k2.fsa.lattices.lm_lattice import lm_lattice
from hainan_k2.fsa.lattices.nar_lattice import nar_lattice
from hainan_k2.fsa.lattices.paths import hypotheses_from_lattice, path_tokens, shortest_path
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis
from hainan_k2.search.emissions import Emissions
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import NO_RESOURCES, DecodingResources


@torch.no_grad()
def viterbi(
    model: Hainan, encoder_out: Tensor, lens: Tensor, options: SearchConfig, resources: DecodingResources = NO_RESOURCES
) -> list[Hypothesis]:
    """The best path of each utterance of encoder_out (B, T, C), lens (B,)."""
    lattice = make_lattice(model, model.joiner.project_encoder(encoder_out), lens, options, resources)
    return hypotheses_from_lattice(shortest_path(lattice), lens, lattice)


def make_lattice(
    model: Hainan,
    projected: Tensor,
    lens: Tensor,
    options: SearchConfig,
    resources: DecodingResources = NO_RESOURCES,
    scorers: Sequence[tuple[Scorer, float]] = (),
) -> Fsa:
    """The lattices of projected encoder frames (B, T, J), lens (B,): a k2.FsaVec, as nar_lattice returns it.

    With hotwords, or `scorers` and their weights, they are composed with these and pruned, as by lm_lattice.
    """
    token_log_probs, duration_log_probs = model.joiner.log_probs(projected, None)
    path_scores: dict[str, Any] = dict(
        top_k=options.top_k,
        duration_scale=options.duration_scale,
        blank_penalty=options.blank_penalty,
        token_bonus=options.token_bonus,
    )
    resources = resources.to(projected.device)
    if resources.hotwords is not None:
        scorers = [*scorers, (resources.require("hotwords"), options.hotword_scale)]
    if not any(weight for _, weight in scorers):
        return nar_lattice(token_log_probs, duration_log_probs, lens, model.durations, **path_scores)
    return lm_lattice(
        token_log_probs,
        duration_log_probs,
        lens,
        model.durations,
        scorers,
        beam=options.lattice_beam,
        max_active=options.lattice_states,
        **path_scores,
    )


def viterbi_emissions(
    model: Hainan, projected: Tensor, lens: Tensor, options: SearchConfig, resources: DecodingResources = NO_RESOURCES
) -> Emissions:
    """The tokens on the best paths of projected encoder frames (B, T, J), lens (B,): the start of a refinement.

    Their confidences are not computed: all are 1.
    """
    best = shortest_path(make_lattice(model, projected, lens, options, resources))
    utterance, token, frame, duration = path_tokens(best)
    score = best.get_tot_scores(use_double_scores=True, log_semiring=False)
    return Emissions(utterance, token, frame, duration, torch.ones_like(score[utterance]), score)
