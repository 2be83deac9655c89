"""Every way to decode behind one table: METHODS["ar-greedy"].function(model, encoder_out, lens, options, resources)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hainan_k2.fsa.k2 import why_no_k2
from hainan_k2.search.beam import ar_beam
from hainan_k2.search.grammar import grammar
from hainan_k2.search.graph import graph
from hainan_k2.search.greedy import ar_greedy, nar_greedy
from hainan_k2.search.nbest import ORDERING, nbest_ar, nbest_lm, nbest_mbr, nbest_oracle, nbest_total
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.refine import sar, sar_viterbi
from hainan_k2.search.resources import NO_RESOURCES, DecodingResources
from hainan_k2.search.viterbi import viterbi
from hainan_k2.search.viterbi_lm import viterbi_lm


@dataclass(frozen=True)
class Method:
    """A decoding method: function(model, encoder_out (B, T, C), lens (B,), SearchConfig, DecodingResources).

    `needs` names the fields of DecodingResources that it cannot do without, `uses` those that it takes if given.
    function.sweep takes a list of SearchConfigs that differ in the options `sweeps` only, and gives the Hypotheses of
    each for hardly more than those of one. With `oracle` the best of the alternatives is for those to pick who know the
    truth: it bounds what can be reached.
    """

    name: str
    function: Callable
    needs_k2: bool
    description: str
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    sweeps: tuple[str, ...] = ()
    oracle: bool = False


METHODS = {
    method.name: method
    for method in (
        Method("ar-greedy", ar_greedy, False, "autoregressive greedy search by label-looping", uses=("hotwords",)),
        Method("ar-beam", ar_beam, False, "autoregressive beam search that adds up alignments", uses=("hotwords",)),
        Method("nar-greedy", nar_greedy, False, "greedy walk over the encoder-only joint"),
        Method("sar", sar, False, "nar-greedy, refined by the predictor in parallel", uses=("hotwords",)),
        Method("viterbi", viterbi, True, "best path of the encoder-only lattice", uses=("hotwords",)),
        Method(
            "viterbi-lm",
            viterbi_lm,
            True,
            "best path of the lattice composed with an n-gram language model",
            needs=("lm",),
            uses=("lodr_lm", "hotwords"),
        ),
        Method("sar-viterbi", sar_viterbi, True, "viterbi, refined by the predictor in parallel", uses=("hotwords",)),
        Method("grammar", grammar, True, "best path in a closed grammar, with its output side", needs=("grammar",)),
        Method(
            "graph",
            graph,
            True,
            "best path through a word graph: lexicon and word-level language model",
            needs=("graph",),
        ),
        Method(
            "nbest",
            nbest_total,
            True,
            "most probable text over all alignments in the lattice",
            uses=("hotwords",),
            sweeps=ORDERING,
        ),
        Method(
            "nbest-lm",
            nbest_lm,
            True,
            "n-best list, rescored by a language model",
            needs=("lm",),
            uses=("hotwords",),
            sweeps=ORDERING,
        ),
        Method(
            "nbest-ar",
            nbest_ar,
            True,
            "n-best list, rescored by the predictor over all alignments",
            uses=("hotwords",),
            sweeps=ORDERING,
        ),
        Method(
            "mbr",
            nbest_mbr,
            True,
            "least expected word errors over the n-best list",
            uses=("hotwords", "pieces"),
            sweeps=ORDERING,
        ),
        Method(
            "nbest-oracle",
            nbest_oracle,
            True,
            "the text of the n-best list nearest to the reference: a bound",
            uses=("hotwords",),
            sweeps=ORDERING,
            oracle=True,
        ),
    )
}


def check_methods(names: Sequence[str]) -> None:
    """ValueError unless all of `names` are methods, or all of them, that the installed packages can run."""
    if not names:
        raise ValueError(f"no method given; there are {', '.join(METHODS)}, and all")
    for name in names if tuple(names) != ("all",) else ():
        if name not in METHODS:
            raise ValueError(f"no method {name!r}; there are {', '.join(METHODS)}, and all")
        if METHODS[name].needs_k2 and why_no_k2():
            raise ValueError(f"method {name} needs k2: {why_no_k2()}")


def choose_methods(names: Sequence[str], resources: DecodingResources = NO_RESOURCES) -> list[str]:
    """`names` themselves; ("all",) stands for every method but oracles that can run here. ValueError on what cannot.

    A method that cannot use what was given runs all the same, and a warning names it.
    """
    chosen = _choose(names, resources)
    for given in resources.given():
        deaf = [name for name in chosen if given not in METHODS[name].needs + METHODS[name].uses]
        if deaf:
            logging.warning("--%s is not used by %s", given.replace("_", "-"), ", ".join(deaf))
    return chosen


def _choose(names: Sequence[str], resources: DecodingResources) -> list[str]:
    check_methods(names)
    if tuple(names) == ("all",):
        able = [
            method
            for method in METHODS.values()
            if not method.oracle and all(getattr(resources, need) for need in method.needs)
        ]
        missing = [method.name for method in able if method.needs_k2 and why_no_k2()]
        if missing:
            logging.warning(
                "%d of %d methods are left out, %s: %s", len(missing), len(able), ", ".join(missing), why_no_k2()
            )
        return [method.name for method in able if method.name not in missing]
    for name in names:
        for need in METHODS[name].needs:
            if not getattr(resources, need):
                raise ValueError(f"method {name} needs --{need.replace('_', '-')}")
    return list(names)


__all__ = ["METHODS", "NO_RESOURCES", "DecodingResources", "Method", "SearchConfig", "check_methods", "choose_methods"]
