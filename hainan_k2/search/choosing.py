"""Which methods a command runs: `--method a,b` or `--method all`, checked against what is installed and given."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Optional

from hainan_k2.config import ModelConfig
from hainan_k2.search.methods import METHODS
from hainan_k2.search.resources import NO_RESOURCES, DecodingResources
from hainan_k2.search.suitability import untrained, why_unsuitable

if TYPE_CHECKING:
    from hainan_k2.fsa.language.lm_file import Lm

logger = logging.getLogger(__name__)
ALL = ("all",)
ANY_MODEL = ModelConfig(ctc=False)  # a TDT model of this package
_UNTRAINED = (
    "the encoder-only joint of this model is not trained, because its predictor was never masked; hainan-train "
    "--init-from MODEL --mask-prob 0.5 trains it"
)


def check_methods(names: Sequence[str]) -> None:
    """ValueError unless all of `names` are methods that the installed packages can run, or they are ("all",)."""
    if not names:
        raise ValueError(f"no method given; there are {', '.join(METHODS)}, and all")
    for name in names if tuple(names) != ALL else ():
        if name not in METHODS:
            raise ValueError(f"no method {name!r}; there are {', '.join(METHODS)}, and all")
        if METHODS[name].needs_k2 and _why_no_k2():
            raise ValueError(f"method {name} needs k2: {_why_no_k2()}")


def choose_methods(
    names: Sequence[str],
    resources: DecodingResources = NO_RESOURCES,
    model: ModelConfig = ANY_MODEL,
    lattice: str = "nar",
) -> list[str]:
    """`names` themselves; ("all",) stands for every method, without oracles, that can run here with `resources` and
    suits the model.

    A warning names each resource that a chosen method does not use, and the methods that need an encoder-only joint
    where the model was trained without. `lattice` is that of n-best lists, as in SearchConfig.

    Raises:
      ValueError: for a name that is no method, a method that needs k2 where it does not work, one that needs a resource
        which is not given, and one that needs a part which the model does not have.
    """
    chosen = _choose(names, resources, model, lattice)
    for resource in resources.given():
        if resource == "lm" and resources.lm_origin == "model":
            continue  # nobody has asked for it
        unused_by = [name for name in chosen if resource not in METHODS[name].needs + METHODS[name].uses]
        if unused_by:
            logger.warning("--%s is not used by %s", resource.replace("_", "-"), ", ".join(unused_by))
    doubtful = [name for name in chosen if untrained(METHODS[name], model, lattice)]
    if doubtful:
        logger.warning("%s: %s", ", ".join(doubtful), _UNTRAINED)
    return chosen


def with_own_lm(
    resources: DecodingResources, methods: Sequence[str], read: Callable[[], Optional[Lm]]
) -> DecodingResources:
    """The resources with the model directory's own language model, which `read` returns, where one of the methods takes
    one and none was named. A graph or a grammar stands in place of it."""
    replaced = resources.lm or resources.lm_origin or resources.graph or resources.grammar
    takers = [name for name, method in METHODS.items() if "lm" in method.needs + method.uses]
    if replaced or not set(methods) & {*takers, *ALL}:
        return resources
    lm = read()
    return resources if lm is None else replace(resources, lm=lm, lm_origin="model")


def default_method(preferred: Sequence[str], available: Sequence[str], model: ModelConfig, given: Sequence[str]) -> str:
    """The first of the methods of a model directory that can run here, of those that use most of the resources `given`.

    Where none can, or none is stored, ar-greedy, or ctc-greedy for a CTC model.

    Args:
      available: the names of the decoding resources there are, `given` and the directory's own.
    """

    def runs(name: str) -> bool:
        method = METHODS[name]
        there = set(method.needs) <= set(available) and not (method.needs_k2 and _why_no_k2())
        return there and not why_unsuitable(method, model, METHODS, "ar") and not untrained(method, model, "ar")

    able = [name for name in preferred if runs(name)]
    able = able or (["ctc-greedy"] if model.objective == "ctc" else ["ar-greedy"])
    return max(able, key=lambda name: len(set(given) & {*METHODS[name].needs, *METHODS[name].uses}))


def _choose(names: Sequence[str], resources: DecodingResources, model: ModelConfig, lattice: str) -> list[str]:
    check_methods(names)
    if tuple(names) == ALL:
        return _all(resources, model, lattice)
    for name in names:
        method = METHODS[name]
        for need in method.needs:
            if not getattr(resources, need):
                raise ValueError(f"method {name} needs --{need.replace('_', '-')}")
        if why_unsuitable(method, model, METHODS, lattice):
            raise ValueError(why_unsuitable(method, model, METHODS, lattice))
    return list(names)


def _all(resources: DecodingResources, model: ModelConfig, lattice: str) -> list[str]:
    given = [
        method
        for method in METHODS.values()
        if not method.oracle and all(getattr(resources, need) for need in method.needs)
        if not why_unsuitable(method, model, METHODS, lattice)
    ]
    missing = {method.name: _why_no_k2() for method in given if method.needs_k2 and _why_no_k2()}
    missing.update({method.name: _UNTRAINED for method in given if untrained(method, model, lattice)})
    for why in dict.fromkeys(missing.values()):
        names = [name for name, reason in missing.items() if reason == why]
        logger.warning("%d of %d methods are left out, %s: %s", len(names), len(given), ", ".join(names), why)
    return [method.name for method in given if method.name not in missing]


def _why_no_k2() -> str:
    from hainan_k2.fsa.k2 import why_no_k2  # here: it loads torch

    return why_no_k2()
