"""Viterbi search with an n-gram model over tokens or words, composed with the lattice and pruned at the same time.

The score is the best path's weight: tokens, durations, penalties and bonus as in viterbi, plus `lm_scale` times the
LM's log-probability of the tokens as a sentence. With a second LM of low order, `lodr_scale` times its log-probability
is subtracted: low-order density ratio, which removes the encoder's internal language model (Zheng et al., arXiv
2203.16776). The confidence of a token is its posterior in the pruned lattice.

Where the LM allows no path of an utterance, the result is that of viterbi, with a note.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hainan_k2.fsa.language.scorers import Scorer
from hainan_k2.fsa.lattices.paths import best_hypotheses
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import NO_RESOURCES, DecodingResources
from hainan_k2.search.viterbi import make_arcs, viterbi

NO_PATH = "no path that the language model allows: the best one without it"


def lm_scorers(options: SearchConfig, resources: DecodingResources) -> list[tuple[Scorer, float]]:
    """The language models and their weights, that of `lodr_lm` negative; ValueError where there is no `lm`."""
    scorers: list[tuple[Scorer, float]] = [(resources.require("lm"), options.lm_scale)]
    if resources.lodr_lm is not None:
        scorers.append((resources.lodr_lm, -options.lodr_scale))
    return scorers


@torch.no_grad()
def viterbi_lm(
    model: Hainan, encoder_out: Tensor, lens: Tensor, options: SearchConfig, resources: DecodingResources = NO_RESOURCES
) -> list[Hypothesis]:
    """The best paths of encoder_out (B, T, C), lens (B,), with `resources.lm` and, if given, `resources.lodr_lm`.

    Raises ValueError where there is no `resources.lm`.
    """
    resources = resources.to(encoder_out.device)
    scorers = lm_scorers(options, resources)
    projected = model.joiner.project_encoder(encoder_out)
    hypotheses = best_hypotheses(make_arcs(model, projected, lens, options, resources, scorers), lens)
    pathless = [i for i, hypothesis in enumerate(hypotheses) if hypothesis.score == -torch.inf]
    if pathless:
        without_lm = viterbi(model, encoder_out[pathless], lens[pathless], options, resources)
        for i, hypothesis in zip(pathless, without_lm):
            hypotheses[i] = replace(hypothesis, note=NO_PATH)
    return hypotheses
