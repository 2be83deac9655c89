"""Search in a word graph of lexicon and word-level language model (`--graph LG.safetensors`).

The graph is composed with the TDT topology (hainan_k2.fsa.lattices.topology) and searched by k2.intersect_dense_pruned
over the log-probabilities of the encoder-only joint. The score is the best path's weight: tokens, durations, penalties
and bonus as in viterbi, plus `lm_scale` times the graph's scores. The confidence of a token is its posterior in the
pruned lattice. Words are the output labels of the graph, with the times of their tokens.

With `--word-lm`, a larger language model over words, the lattice is rescored: lm_scale times its scores take the place
of those of the graph's own model, also in confidences. Only what the beam keeps with the graph's model can be found.

With hotwords, the `num_paths` best texts of the pruned lattice are ordered again, with the weights of the hotwords that
each has: only what the graph allows, and the beam keeps, can be found.

Where the graph or the beam leaves an utterance no path, its result is that of viterbi, with a note.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Optional

import torch
from torch import Tensor

from hainan_k2.fsa.k2 import Fsa
from hainan_k2.fsa.language.hotwords import HotwordGraph
from hainan_k2.fsa.language.word_lm import WordLm
from hainan_k2.fsa.lattices.decoding_graph import DecodingGraph
from hainan_k2.fsa.lattices.duration_scores import duration_scores
from hainan_k2.fsa.lattices.nbest import best_texts
from hainan_k2.fsa.lattices.paths import Durations
from hainan_k2.fsa.lattices.rescoring import rescore_lattice
from hainan_k2.fsa.lattices.topology import intersect_tdt, tdt_dense
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis
from hainan_k2.search.biasing import scaled_hotwords
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import NO_RESOURCES, DecodingResources
from hainan_k2.search.viterbi import viterbi

NO_PATH = "no path through the graph: the best one without it"


@torch.no_grad()
def graph(
    model: Hainan, encoder_out: Tensor, lens: Tensor, options: SearchConfig, resources: DecodingResources = NO_RESOURCES
) -> list[Hypothesis]:
    """The best paths of encoder_out (B, T, C), lens (B,) through `resources.graph`.

    Raises ValueError where there is no `resources.graph`, or it was compiled for other durations.
    """
    word_graph: DecodingGraph = resources.require("graph")
    word_lm = resources.to(encoder_out.device).word_lm

    def make(rows: list[int]) -> Fsa:
        projected = model.joiner.project_encoder(encoder_out[rows])
        return graph_lattice(model, projected, lens[rows], options, word_graph, word_lm)

    def without_graph(rows: list[int]) -> list[Hypothesis]:
        return viterbi(model, encoder_out[rows], lens[rows], options, resources)

    return best_in_graph(
        lens, make, without_graph, word_graph, options, scaled_hotwords(resources, options, encoder_out.device)
    )


def best_in_graph(
    lens: Tensor,
    make: Callable[[list[int]], Fsa],
    without_graph: Callable[[list[int]], list[Hypothesis]],
    word_graph: DecodingGraph,
    options: SearchConfig,
    hotwords: Optional[HotwordGraph],
    durations: Durations = None,
) -> list[Hypothesis]:
    """The hypotheses of utterances of lens (B,) in a word graph, with the best texts as alternatives if nbest > 1.

    Args:
      make: the lattices, composed with word_graph, for some rows of the batch, all with frames.
      without_graph: the hypotheses of rows without frames, or without a path in the graph.
      durations: of tokens, as for best_hypotheses.
    """
    found: dict[int, Hypothesis] = {}
    filled = (lens > 0).nonzero()[:, 0].tolist()  # k2 has no dense matrix without rows
    lattice = make(filled) if filled else None
    if lattice is not None and lattice.num_arcs:
        nbest = best_texts(lattice, options.nbest if hotwords is None else max(options.nbest, options.num_paths))
        if hotwords is not None:
            nbest = nbest.reordered(hotwords.score(nbest.texts()), options.nbest)
        hypotheses = nbest.hypotheses(lens[filled], nbest.score, durations)
        for row, hypothesis, outputs in zip(nbest.utterance.tolist(), hypotheses, nbest.outputs()):
            best = replace(hypothesis, output=word_graph.output(hypothesis.ids, *outputs))
            first = found.setdefault(filled[row], best)
            if options.nbest > 1:
                found[filled[row]] = replace(first, alternatives=(*first.alternatives, best))
    pathless = [i for i in range(len(lens)) if i not in found]
    if pathless:
        for i, hypothesis in zip(pathless, without_graph(pathless)):
            found[i] = replace(hypothesis, note=NO_PATH) if lens[i] > 0 else hypothesis
    return [found[i] for i in range(len(lens))]


def graph_lattice(
    model: Hainan,
    projected: Tensor,
    lens: Tensor,
    options: SearchConfig,
    word_graph: DecodingGraph,
    word_lm: Optional[WordLm] = None,
) -> Fsa:
    """The lattices of projected encoder frames (B, T, J), lens (B,) of at least one, in the graph: a k2.FsaVec.

    Their aux_labels are word ids. With a `word_lm`, on the same device, they are rescored with it. Raises ValueError if
    the graph was compiled for other durations.
    """
    token_log_probs, duration_log_probs = model.joiner.log_probs(projected, None)
    scores = duration_scores(
        token_log_probs, duration_log_probs, lens, model.durations, options.duration_scale, options.skip_scale
    )
    dense = tdt_dense(token_log_probs, scores, lens, options.blank_penalty, options.token_bonus)
    lattice = intersect_tdt(
        word_graph.search_graph(model.durations, options.lm_scale, projected.device),
        dense,
        token_log_probs.shape[2],
        model.durations,
        options.search_beam,
        options.output_beam,
        options.min_active_states,
        options.max_active_states,
    )
    return lattice if word_lm is None else rescore_lattice(lattice, word_lm, options.lm_scale)
