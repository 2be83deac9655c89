"""Viterbi search: the best path of the non-autoregressive lattice, which nar_greedy only approximates.

The score is the path's weight, with penalties and bonus. The confidence of a token is its posterior in the lattice.
Nothing in this lattice depends on the tokens before, so that the best token of a frame is on the best path through that
frame: a few tokens per frame (`top_k`) give the same path as all tokens.

With hotwords, the lattice is composed with their automaton, and pruned by `lattice_beam` and `lattice_states`. A
hotword is found only where its tokens are among the `top_k` of their frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hainan_k2.fsa.language.scorers import Scorer
from hainan_k2.fsa.lattices.arcs import Arcs
from hainan_k2.fsa.lattices.lm_lattice import lm_arcs
from hainan_k2.fsa.lattices.nar_lattice import make_tables, nar_arcs
from hainan_k2.fsa.lattices.paths import best_hypotheses, best_tokens
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
    return best_hypotheses(make_arcs(model, model.joiner.project_encoder(encoder_out), lens, options, resources), lens)


def make_arcs(
    model: Hainan,
    projected: Tensor,
    lens: Tensor,
    options: SearchConfig,
    resources: DecodingResources = NO_RESOURCES,
    scorers: Sequence[tuple[Scorer, float]] = (),
) -> Arcs:
    """The lattices of projected encoder frames (B, T, J), lens (B,): the arcs of nar_lattice.

    With hotwords, or `scorers` and their weights, they are composed with these and pruned: the arcs of lm_lattice.
    """
    token_log_probs, duration_log_probs = model.joiner.log_probs(projected, None)
    tables = make_tables(
        token_log_probs,
        duration_log_probs,
        lens,
        model.durations,
        top_k=options.top_k,
        duration_scale=options.duration_scale,
        blank_penalty=options.blank_penalty,
        token_bonus=options.token_bonus,
        skip_scale=options.skip_scale,
    )
    resources = resources.to(projected.device)
    if resources.hotwords is not None:
        scorers = [*scorers, (resources.require("hotwords"), options.hotword_scale)]
    if not any(weight for _, weight in scorers):
        return nar_arcs(tables)
    return lm_arcs(tables, scorers, options.lattice_beam, options.lattice_states)


def viterbi_emissions(
    model: Hainan, projected: Tensor, lens: Tensor, options: SearchConfig, resources: DecodingResources = NO_RESOURCES
) -> Emissions:
    """The tokens on the best paths of projected encoder frames (B, T, J), lens (B,): the start of a refinement.

    Their confidences are not computed: all are 1.
    """
    utterance, token, frame, duration, score = best_tokens(make_arcs(model, projected, lens, options, resources))
    return Emissions(utterance, token, frame, duration, torch.ones_like(score[utterance]), score)
