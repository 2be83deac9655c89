"""Search in a word graph of lexicon and word-level language model (`--graph LG.safetensors`).

The graph is composed with the TDT topology (hainan_k2.fsa.lattices.topology) and searched by k2.intersect_dense_pruned
over the log-probabilities of the encoder-only joint. The score is the best path's weight: tokens, durations, penalties
and bonus as in viterbi, plus `lm_scale` times the graph's scores. The confidence of a token is its posterior in the
pruned lattice. Words are the output labels of the graph, with the times of their tokens.

Where the graph or the beam leaves an utterance no path, its result is that of viterbi, with a note.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hainan_k2.fsa.k2 import Fsa
from hainan_k2.fsa.language.output_words import graph_words
from hainan_k2.fsa.lattices.decoding_graph import DecodingGraph
from hainan_k2.fsa.lattices.duration_scores import duration_scores
from hainan_k2.fsa.lattices.paths import hypotheses_from_lattice, shortest_path
from hainan_k2.fsa.lattices.topology import intersect_tdt, tdt_dense
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis
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
    hypotheses: list[Hypothesis | None] = [None] * len(lens)
    filled = (lens > 0).nonzero()[:, 0].tolist()  # k2 has no dense matrix without rows
    if filled:
        in_graph = search_graph(model, encoder_out[filled], lens[filled], options, word_graph)
        for i, hypothesis in zip(filled, in_graph):
            hypotheses[i] = hypothesis
    pathless = [i for i, hypothesis in enumerate(hypotheses) if hypothesis is None]
    if pathless:
        without_graph = viterbi(model, encoder_out[pathless], lens[pathless], options)
        for i, hypothesis in zip(pathless, without_graph):
            hypotheses[i] = replace(hypothesis, note=NO_PATH) if lens[i] > 0 else hypothesis
    return [hypothesis for hypothesis in hypotheses if hypothesis is not None]


def search_graph(
    model: Hainan, encoder_out: Tensor, lens: Tensor, options: SearchConfig, word_graph: DecodingGraph
) -> list[Hypothesis | None]:
    """`graph` for utterances of at least one frame; None for those without a path."""
    lattice = graph_lattice(model, model.joiner.project_encoder(encoder_out), lens, options, word_graph)
    if not lattice.num_arcs:
        return [None] * len(lens)
    best = shortest_path(lattice)
    hypotheses = hypotheses_from_lattice(best, lens, lattice)
    return [
        replace(hypothesis, output=words) if hypothesis.score > -torch.inf else None
        for hypothesis, words in zip(hypotheses, path_words(best, word_graph.words, len(lens)))
    ]


def graph_lattice(
    model: Hainan, projected: Tensor, lens: Tensor, options: SearchConfig, word_graph: DecodingGraph
) -> Fsa:
    """The lattices of projected encoder frames (B, T, J), lens (B,) of at least one, in the graph: a k2.FsaVec.

    Their aux_labels are word ids. Raises ValueError if the graph was compiled for other durations.
    """
    token_log_probs, duration_log_probs = model.joiner.log_probs(projected, None)
    scores = duration_scores(
        token_log_probs, duration_log_probs, lens, model.durations, options.duration_scale, options.skip_scale
    )
    dense = tdt_dense(token_log_probs, scores, lens, options.blank_penalty, options.token_bonus)
    return intersect_tdt(
        word_graph.search_graph(model.durations, options.lm_scale, projected.device),
        dense,
        token_log_probs.shape[2],
        model.durations,
        options.search_beam,
        options.output_beam,
        options.min_active_states,
        options.max_active_states,
    )


def path_words(best: Fsa, words: tuple[str, ...], batch: int) -> list[tuple[tuple[str, int, int], ...]]:
    """The words on linear paths, in the form of Hypothesis.output; a word is on the arc of its last token."""
    shape = best.arcs.shape()
    owner = shape.row_ids(1)[shape.row_ids(2).long()]
    emitting = (best.labels > 0).nonzero()[:, 0]
    ids: list[list[int]] = [[] for _ in range(batch)]
    for utterance, word in zip(owner[emitting].tolist(), best.aux_labels[emitting].tolist()):
        ids[utterance].append(word)
    return [graph_words(own, words) for own in ids]
