"""Viterbi search with an n-gram language model over tokens, composed with the lattice while both are pruned.

The score is the best path's weight: tokens, durations, penalties and bonus as in viterbi, `lm_scale` times the
model's log-probability of the tokens as a sentence, minus `lodr_scale` times that of a second, low-order model where
there is one: low-order density ratio, which takes out what the encoder has learnt of language by itself (Zheng et al.,
arXiv 2203.16776). A token's confidence is its posterior in the lattice that the search leaves.

An utterance of which the model allows no path has the result of viterbi and a note.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hainan_k2.fsa.lattices.paths import hypotheses_from_lattice, shortest_path
from hainan_k2.result import Hypothesis
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import NO_RESOURCES, DecodingResources
from hainan_k2.search.viterbi import make_lattice, viterbi

NO_PATH = "no path that the language model allows: the best one without it"


@torch.no_grad()
def viterbi_lm(
    model, encoder_out: Tensor, lens: Tensor, options: SearchConfig, resources: DecodingResources = NO_RESOURCES
) -> list[Hypothesis]:
    """The best paths of encoder_out (B, T, C), lens (B,), with `resources.lm` and, if given, `resources.lodr_lm`."""
    scorers = [(resources.lm, options.lm_scale)]
    if resources.lodr_lm is not None:
        scorers.append((resources.lodr_lm, -options.lodr_scale))
    projected = model.joiner.project_encoder(encoder_out)
    lattice = make_lattice(model, projected, lens, options, resources, scorers)
    found = hypotheses_from_lattice(shortest_path(lattice), lens, lattice)
    lost = [i for i, hypothesis in enumerate(found) if hypothesis.score == -torch.inf]
    for i, hypothesis in zip(lost, viterbi(model, encoder_out[lost], lens[lost], options, resources) if lost else []):
        found[i] = replace(hypothesis, note=NO_PATH)
    return found
