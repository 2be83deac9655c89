"""Every way to decode behind one table: METHODS["ar-greedy"].function(model, encoder_out, lens, options, knowledge)."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hainan_k2.search.beam import ar_beam
from hainan_k2.search.greedy import ar_greedy, nar_greedy
from hainan_k2.search.knowledge import NOTHING, Knowledge
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.refine import sar, sar_viterbi
from hainan_k2.search.viterbi import viterbi


@dataclass(frozen=True)
class Method:
    """A decoding method: function(model, encoder_out (B, T, C), lens (B,), SearchConfig, Knowledge) -> B Hypotheses.

    `needs` names the fields of Knowledge that it cannot do without; it may use others where they are given.
    """

    name: str
    function: Callable
    needs_k2: bool
    description: str
    needs: tuple[str, ...] = ()


METHODS = {
    method.name: method
    for method in (
        Method("ar-greedy", ar_greedy, False, "autoregressive greedy search by label-looping"),
        Method("ar-beam", ar_beam, False, "autoregressive beam search that adds up alignments"),
        Method("nar-greedy", nar_greedy, False, "greedy walk over the encoder-only joint"),
        Method("sar", sar, False, "nar-greedy, refined by the predictor in parallel"),
        Method("viterbi", viterbi, True, "best path of the encoder-only lattice"),
        Method("sar-viterbi", sar_viterbi, True, "viterbi, refined by the predictor in parallel"),
    )
}


def choose_methods(names: Sequence[str], knowledge: Knowledge = NOTHING) -> list[str]:
    """`names` themselves; ("all",) stands for every method that can run here. ValueError on what cannot."""
    has_k2 = importlib.util.find_spec("k2") is not None
    if tuple(names) == ("all",):
        able = [method for method in METHODS.values() if all(getattr(knowledge, need) for need in method.needs)]
        missing = [method.name for method in able if method.needs_k2 and not has_k2]
        if missing:
            logging.warning("k2 is not installed: without %s", ", ".join(missing))
        return [method.name for method in able if method.name not in missing]
    for name in names:
        if name not in METHODS:
            raise ValueError(f"no method {name!r}; there are {', '.join(METHODS)}, and all")
        if METHODS[name].needs_k2 and not has_k2:
            raise ValueError(f"method {name} needs k2, which is not installed: the README says how to get it")
        for need in METHODS[name].needs:
            if not getattr(knowledge, need):
                raise ValueError(f"method {name} needs --{need.replace('_', '-')}")
    if not names:
        raise ValueError(f"no method given; there are {', '.join(METHODS)}, and all")
    return list(names)


__all__ = ["METHODS", "NOTHING", "Knowledge", "Method", "SearchConfig", "choose_methods"]
