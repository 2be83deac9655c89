"""Search with a CTC head in a word graph of lexicon and word-level language model (`--graph LG.safetensors`): HLG.

The graph is composed with k2's CTC topology (hainan_k2.fsa.lattices.ctc_graph) and searched by
k2.intersect_dense_pruned. The score is the best path's: the log-probabilities of a label on every frame, with penalty
and bonus, plus `lm_scale` times the graph's scores. Words, confidences, n-best list, hotwords and `--word-lm` are as
in `graph`; a token begins with the first frame of its label and lasts as long.

Where the graph or the beam leaves an utterance no path, its result is that of ctc-greedy, with a note.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hainan_k2.fsa.k2 import Fsa
from hainan_k2.fsa.lattices.ctc_graph import ctc_dense, intersect_ctc
from hainan_k2.fsa.lattices.ctc_lattice import run_lengths
from hainan_k2.fsa.lattices.decoding_graph import DecodingGraph
from hainan_k2.fsa.lattices.rescoring import rescore_lattice
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis
from hainan_k2.search.biasing import scaled_hotwords
from hainan_k2.search.ctc import ctc_greedy
from hainan_k2.search.graph import best_in_graph
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import NO_RESOURCES, DecodingResources


@torch.no_grad()
def ctc_graph(
    model: Hainan, encoder_out: Tensor, lens: Tensor, options: SearchConfig, resources: DecodingResources = NO_RESOURCES
) -> list[Hypothesis]:
    """The best paths of encoder_out (B, T, C), lens (B,) through `resources.graph`.

    Raises ValueError where there is no `resources.graph`, where it was composed with the TDT topology, and for a model
    without a CTC head.
    """
    word_graph: DecodingGraph = resources.require("graph")
    word_lm = resources.to(encoder_out.device).word_lm

    def make(rows: list[int]) -> Fsa:
        lattice = intersect_ctc(
            word_graph.ctc_graph(options.lm_scale, options.token_bonus, encoder_out.device),
            ctc_dense(model.ctc_log_probs(encoder_out[rows]), lens[rows], options.blank_penalty),
            options.search_beam,
            options.output_beam,
            options.min_active_states,
            options.max_active_states,
        )
        return lattice if word_lm is None else rescore_lattice(lattice, word_lm, options.lm_scale)

    def without_graph(rows: list[int]) -> list[Hypothesis]:
        return ctc_greedy(model, encoder_out[rows], lens[rows], options)

    hotwords = scaled_hotwords(resources, options, encoder_out.device)
    return best_in_graph(lens, make, without_graph, word_graph, options, hotwords, run_lengths)
