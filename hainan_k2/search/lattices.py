"""The lattice that a search with these decoding resources takes its best path from."""

from __future__ import annotations

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


def search_lattice(
    model: Hainan, encoder_out: Tensor, lens: Tensor, options: SearchConfig, resources: DecodingResources = NO_RESOURCES
) -> Fsa:
    """The lattices of encoder_out (B, T, C), lens (B,): a k2.FsaVec.

    With a grammar or a word graph that of the method of this name, else that of viterbi-lm, or of viterbi without LM;
    with options.lattice "ar" that of ar-beam. Raises ValueError for a grammar or graph together with each other or,
    without the predictor, with a language model or hotwords; for a model that the method cannot search; and where k2
    does not work.
    """
    given = resources.given()
    autoregressive = options.lattice == "ar"
    if not autoregressive and len(given) > 1 and {"grammar", "graph"} & set(given):
        raise ValueError(f"a lattice takes a grammar or a graph alone, not {' and '.join(given)}")
    method = next((name for name in ("grammar", "graph") if name in given), "viterbi")
    unsuitable = why_unsuitable(METHODS["ar-beam" if autoregressive else method], model.config, METHODS)
    if unsuitable:
        raise ValueError(unsuitable)
    projected = model.joiner.project_encoder(encoder_out)
    if autoregressive:
        return make_ar_lattice(model, projected, lens, options, resources)
    if resources.grammar is not None:
        return grammar_lattice(model, projected, lens, options, resources.grammar)
    if resources.graph is not None:
        return graph_lattice(model, projected, lens, options, resources.graph)
    resources = resources.to(projected.device)
    scorers = [] if resources.lm is None else lm_scorers(options, resources)
    return make_arcs(model, projected, lens, options, resources, scorers).fsa()
