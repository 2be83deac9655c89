"""Search in a word graph: what a lexicon and a language model over words allow (`--graph LG.safetensors`).

The graph, composed with the TDT topology (topology), is searched by k2.intersect_dense_pruned over the
encoder-only joint's log-probabilities. A score is that of the best path: tokens, durations, penalties and bonus as in
viterbi, and `lm_scale` times the graph's. A token's confidence is its posterior in the pruned lattice. Words are the
graph's own, with the times of the tokens that spell them; what the graph or the beam leaves no path has the result
of viterbi and a note.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hainan_k2.fsa.lattices.paths import hypotheses_from_lattice, shortest_path
from hainan_k2.fsa.lattices.topology import intersect_tdt, tdt_dense
from hainan_k2.result import Hypothesis
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import NO_RESOURCES, DecodingResources
from hainan_k2.search.viterbi import viterbi

NO_PATH = "no path through the graph: the best one without it"


@torch.no_grad()
def graph(
    model, encoder_out: Tensor, lens: Tensor, options: SearchConfig, resources: DecodingResources = NO_RESOURCES
) -> list[Hypothesis]:
    """The best paths of encoder_out (B, T, C), lens (B,) through `resources.graph`."""
    speaking = (lens > 0).nonzero()[:, 0].tolist()  # k2 has no dense matrix without rows
    found = search_graph(model, encoder_out[speaking], lens[speaking], options, resources.graph) if speaking else []
    best = dict(zip(speaking, found))
    lost = [i for i in range(len(lens)) if best.get(i) is None]
    for i, hypothesis in zip(lost, viterbi(model, encoder_out[lost], lens[lost], options) if lost else []):
        best[i] = replace(hypothesis, note=NO_PATH) if i in best else hypothesis
    return [best[i] for i in range(len(lens))]


def search_graph(model, encoder_out: Tensor, lens: Tensor, options: SearchConfig, graph) -> list[Hypothesis | None]:
    """The same where every utterance has a frame; None for those without a path."""
    tokens, spoken = model.joiner.log_probs(model.joiner.project_encoder(encoder_out), None)
    dense = tdt_dense(tokens, spoken, lens, options.duration_scale, options.blank_penalty, options.token_bonus)
    fsa = graph.search_graph(model.durations, options.lm_scale, encoder_out.device)
    lattice = intersect_tdt(
        fsa,
        dense,
        tokens.shape[2],
        model.durations,
        options.search_beam,
        options.output_beam,
        options.min_active_states,
        options.max_active_states,
    )
    if not lattice.num_arcs:
        return [None] * len(lens)
    best = shortest_path(lattice)
    hypotheses = hypotheses_from_lattice(best, lens, lattice)
    return [
        replace(hypothesis, output=words) if hypothesis.score > -torch.inf else None
        for hypothesis, words in zip(hypotheses, path_words(best, graph.words, len(lens)))
    ]


def path_words(best, words: tuple[str, ...], batch: int) -> list[tuple[tuple[str, int, int], ...]]:
    """The words on linear paths as Hypothesis.output has them: a word is on the arc of its last token."""
    shape = best.arcs.shape()
    owner = shape.row_ids(1)[shape.row_ids(2).long()]
    said = (best.labels > 0).nonzero()[:, 0]
    result: list[list[tuple[str, int, int]]] = [[] for _ in range(batch)]
    count, first = [0] * batch, [0] * batch  # tokens so far, and where the next word begins
    for utterance, word in zip(owner[said].tolist(), best.aux_labels[said].tolist()):
        count[utterance] += 1
        if word > 0:
            result[utterance].append((words[word], first[utterance], count[utterance]))
            first[utterance] = count[utterance]
    return [tuple(output) for output in result]
