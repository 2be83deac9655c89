"""Which methods a command runs: `--method a,b` or `--method all`, checked against what is installed and given."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from hainan_k2.search.methods import METHODS
from hainan_k2.search.resources import NO_RESOURCES, DecodingResources

logger = logging.getLogger(__name__)
ALL = ("all",)


def check_methods(names: Sequence[str]) -> None:
    """ValueError unless all of `names` are methods that the installed packages can run, or they are ("all",)."""
    if not names:
        raise ValueError(f"no method given; there are {', '.join(METHODS)}, and all")
    for name in names if tuple(names) != ALL else ():
        if name not in METHODS:
            raise ValueError(f"no method {name!r}; there are {', '.join(METHODS)}, and all")
        if METHODS[name].needs_k2 and _why_no_k2():
            raise ValueError(f"method {name} needs k2: {_why_no_k2()}")


def choose_methods(names: Sequence[str], resources: DecodingResources = NO_RESOURCES) -> list[str]:
    """`names` themselves; ("all",) stands for every method, without oracles, that can run here with `resources`.

    A warning names each resource that a chosen method does not use.

    Raises:
      ValueError: for a name that is no method, a method that needs k2 where it does not work, and one that needs a
        resource which is not given.
    """
    chosen = _choose(names, resources)
    for resource in resources.given():
        unused_by = [name for name in chosen if resource not in METHODS[name].needs + METHODS[name].uses]
        if unused_by:
            logger.warning("--%s is not used by %s", resource.replace("_", "-"), ", ".join(unused_by))
    return chosen


def _choose(names: Sequence[str], resources: DecodingResources) -> list[str]:
    check_methods(names)
    if tuple(names) == ALL:
        able = [
            method
            for method in METHODS.values()
            if not method.oracle and all(getattr(resources, need) for need in method.needs)
        ]
        missing = [method.name for method in able if method.needs_k2 and _why_no_k2()]
        if missing:
            logger.warning(
                "%d of %d methods are left out, %s: %s", len(missing), len(able), ", ".join(missing), _why_no_k2()
            )
        return [method.name for method in able if method.name not in missing]
    for name in names:
        for need in METHODS[name].needs:
            if not getattr(resources, need):
                raise ValueError(f"method {name} needs --{need.replace('_', '-')}")
    return list(names)


def _why_no_k2() -> str:
    from hainan_k2.fsa.k2 import why_no_k2  # here: it loads torch

    return why_no_k2()
