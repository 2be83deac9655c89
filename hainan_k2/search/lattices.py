"""The lattice that a search with these decoding resources takes its best path from."""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor

from hainan_k2.fsa.k2 import Fsa
from hainan_k2.model.hainan import Hainan
from hainan_k2.search.beam import make_ar_lattice
from hainan_k2.search.grammar import grammar_lattice
from hainan_k2.search.graph import graph_lattice
from hainan_k2.search.methods import METHODS
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import NO_RESOURCES, DecodingResources
from hainan_k2.search.suitability import why_unsuitable
from hainan_k2.search.viterbi import make_arcs
from hainan_k2.search.viterbi_lm import lm_scorers


def lattice_method(resources: DecodingResources = NO_RESOURCES, lattice: str = "nar") -> str:
    """The method that searches the lattice of `search_lattice`: the one of its grammar or word graph, else viterbi-lm,
    or viterbi without LM; with `lattice` "ar", as in SearchConfig, ar-beam."""
    if lattice == "ar":
        return "ar-beam"
    given = resources.given()
    return next((name for name in ("grammar", "graph") if name in given), "viterbi-lm" if resources.lm else "viterbi")


@torch.no_grad()
def search_lattice(
    model: Hainan,
    encoder_out: Tensor,
    lens: Tensor,
    options: Optional[SearchConfig] = None,
    resources: DecodingResources = NO_RESOURCES,
) -> Fsa:
    """The lattices of encoder_out (B, T, C), lens (B,), as `lattice_method` searches them: a k2.FsaVec.

    Where `options` are None, with the defaults of that method. Raises ValueError for a grammar or graph together with
    each other or, without the predictor, with a language model or hotwords; for a model that the method cannot search;
    and where k2 does not work.
    """
    options = options or METHODS[lattice_method(resources)].config()
    given, method = resources.given(), lattice_method(resources, options.lattice)
    taken = {"grammar": {"grammar"}, "graph": {"graph", "word_lm"}}.get(method)
    if taken is not None and set(given) - taken:
        raise ValueError(f"a lattice takes a grammar or a graph alone, not {' and '.join(given)}")
    unsuitable = why_unsuitable(METHODS[method], model.config, METHODS)
    if unsuitable:
        raise ValueError(unsuitable)
    projected = model.joiner.project_encoder(encoder_out)
    if method == "ar-beam":
        return make_ar_lattice(model, projected, lens, options, resources)
    if resources.grammar is not None:
        return grammar_lattice(model, projected, lens, options, resources.grammar)
    resources = resources.to(projected.device)
    if resources.graph is not None:
        return graph_lattice(model, projected, lens, options, resources.graph, resources.word_lm)
    scorers = [] if resources.lm is None else lm_scorers(options, resources)
    return make_arcs(model, projected, lens, options, resources, scorers).fsa()
