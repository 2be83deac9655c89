"""Search with a CTC head and an n-gram language model over tokens, composed and pruned at the same time.

The score is the best path's: the log-probabilities of a label on every frame, plus `lm_scale` times the language
model's log-probability of the tokens as a sentence, with hotwords, penalty and bonus as in viterbi-lm. The confidence
of a token is its posterior in the pruned lattice. A token begins with the first frame of its label and lasts as long.

Where the language model allows no path of an utterance, the result is that of ctc-greedy, with a note.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hainan_k2.fsa.lattices.ctc_lattice import ctc_lm_arcs, run_lengths
from hainan_k2.fsa.lattices.paths import best_hypotheses
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis
from hainan_k2.search.ctc import ctc_greedy
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import NO_RESOURCES, DecodingResources
from hainan_k2.search.viterbi_lm import NO_PATH, lm_scorers


@torch.no_grad()
def ctc_lm(
    model: Hainan, encoder_out: Tensor, lens: Tensor, options: SearchConfig, resources: DecodingResources = NO_RESOURCES
) -> list[Hypothesis]:
    """The best paths of encoder_out (B, T, C), lens (B,), with `resources.lm` and, if given, `lodr_lm` and hotwords.

    Raises ValueError where there is no `resources.lm`, and for a model without a CTC head.
    """
    resources = resources.to(encoder_out.device)
    scorers = lm_scorers(options, resources)
    if resources.hotwords is not None:
        scorers.append((resources.hotwords, options.hotword_scale))
    arcs = ctc_lm_arcs(
        model.ctc_log_probs(encoder_out),
        lens,
        scorers,
        options.top_k,
        options.lattice_beam,
        options.lattice_states,
        options.blank_penalty,
        options.token_bonus,
    )
    hypotheses = best_hypotheses(arcs, lens, run_lengths)
    pathless = [i for i, hypothesis in enumerate(hypotheses) if hypothesis.score == -torch.inf]
    if pathless:
        for i, hypothesis in zip(pathless, ctc_greedy(model, encoder_out[pathless], lens[pathless], options)):
            hypotheses[i] = replace(hypothesis, note=NO_PATH)
    return hypotheses
