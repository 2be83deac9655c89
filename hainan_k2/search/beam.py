"""Autoregressive beam search, alone or with language models, hotwords, a grammar or a word graph.

hainan_k2.search.ar_search explains the search. The score of a hypothesis is the log-probability of its text, summed
over the alignments that the search kept; with a wide enough beam this is exact. Weights times the scores of language
models, hotwords, grammar and graph are added; where the automaton has several paths for a text, they are summed as
well. The confidence of a token is its probability.

Where the grammar or graph leaves an utterance no hypothesis, it is searched again in a beam that is WIDEN times as
wide. Where the language model or the graph allows none even then, its result is the one without them, with a note. An
utterance outside the grammar is treated as in hainan_k2.search.grammar, with the beam search without grammar in the
place of viterbi.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Optional

import torch
from torch import Tensor

from hainan_k2.fsa.k2 import Fsa
from hainan_k2.fsa.language.output_words import graph_words, output_words
from hainan_k2.fsa.language.scorers import Scorer, WeightedScorers
from hainan_k2.fsa.lattices.ar_lattice import ar_lattice
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis
from hainan_k2.search.ar_automaton import Automaton
from hainan_k2.search.ar_results import Found, Words, read_hypotheses
from hainan_k2.search.ar_search import ArSearch
from hainan_k2.search.emissions import Frames
from hainan_k2.search.grammar import note_outside
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import NO_RESOURCES, DecodingResources

WIDEN = 8  # how many times the beam is when an utterance is searched again
NO_LM_PATH = "no path that the language model allows: the best one without it"
NO_GRAPH_PATH = "no path through the graph: the best one without it"


@torch.no_grad()
def ar_beam(
    model: Hainan, encoder_out: Tensor, lens: Tensor, options: SearchConfig, resources: DecodingResources = NO_RESOURCES
) -> list[Hypothesis]:
    """Beam search of encoder_out (B, T, C), lens (B,); with nbest > 1, `alternatives` holds the n-best list.

    With beam = beam_durations = 1 and no resources this is greedy search. Raises ValueError for a grammar together with
    a graph, and for an utterance on which the model fails.
    """
    resources = resources.to(encoder_out.device)
    found = _search(model, encoder_out, lens, options, resources)
    lost = [b for b, one in enumerate(found) if one.hypothesis.score == -torch.inf]
    if lost and (resources.grammar is not None or resources.graph is not None):
        for b, one in zip(lost, _search(model, encoder_out[lost], lens[lost], options, resources, WIDEN)):
            found[b] = one
    if resources.grammar is not None:
        free = ar_beam(model, encoder_out, lens, options, replace(resources, grammar=None))
        return [
            note_outside(in_grammar.hypothesis, without, in_grammar.graph_score, options, "ar-beam")
            for in_grammar, without in zip(found, free)
        ]
    hypotheses = [one.hypothesis for one in found]
    pathless = [b for b, hypothesis in enumerate(hypotheses) if hypothesis.score == -torch.inf]
    if pathless:
        if resources.lm is None and resources.graph is None:
            raise ValueError(f"utterance {pathless[0]} of the batch has no path of finite score: the model fails on it")
        allowed = replace(resources, lm=None, lodr_lm=None, graph=None)
        note = NO_LM_PATH if resources.graph is None else NO_GRAPH_PATH
        for b, hypothesis in zip(pathless, ar_beam(model, encoder_out[pathless], lens[pathless], options, allowed)):
            hypotheses[b] = replace(hypothesis, note=note)
    return hypotheses


def make_automaton(
    options: SearchConfig, resources: DecodingResources, device: torch.device
) -> tuple[Automaton, Optional[Words]]:
    """The automaton of the resources with their weights, and what makes words of its outputs, if it has any.

    ValueError for a grammar together with a graph.
    """
    weighted: list[tuple[Scorer, float]] = []
    if resources.lm is not None:
        weighted.append((resources.lm, options.lm_scale))
    if resources.lodr_lm is not None:
        weighted.append((resources.lodr_lm, -options.lodr_scale))
    if resources.hotwords is not None:
        weighted.append((resources.hotwords, options.hotword_scale))
    scorers = WeightedScorers(weighted, device)
    if resources.grammar is not None and resources.graph is not None:
        raise ValueError("a grammar and a graph cannot be searched together: give one of --grammar and --graph")
    if resources.grammar is not None:
        grammar = resources.grammar
        words = partial(output_words, outputs=grammar.outputs) if grammar.transduces else None
        return Automaton(scorers, grammar.token_graph(device)), words
    if resources.graph is not None:
        graph = resources.graph.token_graph(device)
        return Automaton(scorers, graph, options.lm_scale), partial(graph_words, words=resources.graph.words)
    return Automaton(scorers), None


def _search(
    model: Hainan,
    encoder_out: Tensor,
    lens: Tensor,
    options: SearchConfig,
    resources: DecodingResources,
    widen: int = 1,
) -> list[Found]:
    frames = Frames.pack(encoder_out, lens).map(model.joiner.project_encoder)
    automaton, words = make_automaton(options, resources, frames.values.device)
    search = ArSearch(model, frames, options, automaton, widen=widen)
    with torch.inference_mode():  # a sixth faster than no_grad: a step is many operations on few numbers
        search.run()
    return read_hypotheses(search, frames.lens.tolist(), options.nbest, words)


@torch.no_grad()
def make_ar_lattice(
    model: Hainan,
    projected: Tensor,
    lens: Tensor,
    options: SearchConfig,
    resources: DecodingResources = NO_RESOURCES,
) -> Fsa:
    """The AR lattices of projected encoder frames (B, T, J), lens (B,): a k2.FsaVec, as ar_lattice returns it.

    They hold the states that the beam search keeps, and all arcs between them. Raises ValueError as ar_beam.
    """
    frames = Frames.pack(projected, lens)
    automaton, _ = make_automaton(options, resources.to(projected.device), projected.device)
    search = ArSearch(model, frames, options, automaton, record=True)
    search.run()
    return ar_lattice(search.lattice(), len(lens))
