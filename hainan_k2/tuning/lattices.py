"""The lattices of a development set, whose best paths with other weights are found without another search.

Methods whose result is the best path of one lattice can be tuned on it: viterbi, viterbi-lm and graph. The lattice has
been pruned with the weights it was made with; so hainan-tune makes new ones with the best weights it found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hainan_k2.fsa.fsavec import arc_owner
from hainan_k2.fsa.k2 import Fsa
from hainan_k2.fsa.lattices.path_weights import PathWeights, WeightedLattice
from hainan_k2.fsa.lattices.paths import hypotheses_from_lattice, shortest_path
from hainan_k2.search import DecodingResources, SearchConfig
from hainan_k2.search.lattices import search_lattice
from hainan_k2.tuning.dev_set import DevSet, EncodedBatch

RESOURCES = {  # of the lattices, by method
    "viterbi": ((),),
    "viterbi-lm": (("lm",),),
    "graph": (("graph",), ("graph", "word_lm")),
}


def has_lattices(method: str, options: SearchConfig, given: Sequence[str]) -> bool:
    """Whether the method can be tuned on lattices with the resources `given`.

    The scores of a second language model and of hotwords cannot be told from those of the first. Without a weight, the
    language model leaves no scores at all.
    """
    return tuple(given) in RESOURCES.get(method, ()) and bool(options.lm_scale or not given)


def path_weights(options: SearchConfig, with_lm: bool) -> PathWeights:
    """The weights of the terms of a path's score; lm_scale is 0 for a lattice without language model."""
    names = ("duration_scale", "token_bonus", "blank_penalty", "skip_scale")
    weights = {name: getattr(options, name) for name in names}
    return PathWeights(**weights, lm_scale=options.lm_scale if with_lm else 0.0)


class DevLattices:
    """The lattices of `dev`, made with `options`. ValueError where `has_lattices` is false."""

    def __init__(self, dev: DevSet, options: SearchConfig) -> None:
        if not has_lattices(dev.method, options, dev.resources.given()):
            raise ValueError(f"{dev.method} with {', '.join(dev.resources.given())} is not tuned on lattices")
        self.dev = dev
        self._parts: list[tuple[list[int], Tensor, WeightedLattice]] = []  # utterances, lens, lattices
        first = 0
        for encoded in dev.batches:
            self._add(encoded, [b for b in range(len(encoded.lens)) if encoded.lens[b] > 0], first, options)
            first += len(encoded.lens)

    @torch.no_grad()
    def _add(self, encoded: EncodedBatch, rows: list[int], first: int, options: SearchConfig) -> None:
        """Make the lattices of the utterances `rows` of a batch; without resources for those that have no path."""
        for resources in (self.dev.resources, DecodingResources()):
            if not rows:
                return
            model, lens = self.dev.model, encoded.lens[rows]
            encoder_out = encoded.encoder_out[rows, : int(lens.max())]
            lattice = search_lattice(model, encoder_out, lens, replace(options, lattice="nar"), resources)
            log_probs = model.joiner.log_probs(model.joiner.project_encoder(encoder_out), None)
            arcs = arc_owner(lattice).bincount(minlength=len(rows)).tolist()
            weights = path_weights(options, bool(resources.given()))
            weighted = WeightedLattice(lattice, *log_probs, lens, model.durations, weights)
            utterances = [first + b if count else -1 for b, count in zip(rows, arcs)]
            self._parts.append((utterances, lens, weighted))
            rows = [b for b, count in zip(rows, arcs) if not count]

    def errors(self, points: Sequence[SearchConfig]) -> list[np.ndarray]:
        """The word errors (U,) of the best paths with each of several options."""
        return [self.dev.errors(self._texts(options)) for options in points]

    def _texts(self, options: SearchConfig) -> list[str]:
        texts, graph = [""] * len(self.dev.references), self.dev.resources.graph
        for utterances, lens, weighted in self._parts:
            with_lm = hasattr(weighted.lattice, "lm_scores")
            best = shortest_path(weighted.at(path_weights(options, with_lm)))
            if graph is not None and with_lm:
                spelled = graph_texts(best, graph.words)
            else:
                hypotheses = hypotheses_from_lattice(best, lens)
                spelled = [hypothesis.with_words(self.dev.tokenizer.pieces).text for hypothesis in hypotheses]
            for u, text in zip(utterances, spelled):
                if u >= 0:
                    texts[u] = self.dev.tokenizer.scoring(text)
        return texts


def graph_texts(best: Fsa, words: Sequence[str]) -> list[str]:
    """The words on linear paths through a word graph, whose aux_labels are ids of `words`."""
    texts: list[list[str]] = [[] for _ in range(best.shape[0])]
    at = (best.aux_labels > 0).nonzero()[:, 0]
    for path, word in zip(arc_owner(best)[at].tolist(), best.aux_labels[at].tolist()):
        texts[path].append(words[word])
    return [" ".join(text) for text in texts]
