"""Whether k2 works here, and its import on first use. Everything else asks this module.

An installed k2 may still fail to import: a wheel for another Python lacks a matching `_k2`, and k2 refuses any torch
version except the one that it was built for.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

import torch

Fsa = Any  # a k2.Fsa: k2 is imported when it is first needed, and has no type stubs
RaggedArc = Any  # a _k2.RaggedArc: the arcs that a k2.Fsa is made of
DenseFsaVec = Any  # a k2.DenseFsaVec

WHEELS = "https://k2-fsa.github.io/k2/cpu.html, with CUDA https://k2-fsa.github.io/k2/cuda.html"


@functools.cache
def why_no_k2() -> str:
    """Why k2 cannot be used and what to do about it, in one line; empty if it can be used."""
    try:
        import k2
    except Exception as error:  # the import of a package built for another system may raise anything
        if isinstance(error, ModuleNotFoundError) and error.name == "k2":
            return f"k2 is not installed: {_advice()}"
        reason = " ".join([f"{type(error).__name__}:", *str(error).split()])
        return f"k2 is installed but cannot be imported ({reason}): {_advice()}"
    if not hasattr(k2, "Fsa"):  # a folder of this name on sys.path is imported as an empty package
        return f"{getattr(k2, '__file__', None) or list(k2.__path__)[0]} is not the k2 of k2-fsa: {_advice()}"
    return ""


def _advice() -> str:
    version = torch.__version__.split("+")[0]
    return f"take its wheel for exactly torch {version}, Python {sys.version_info[0]}.{sys.version_info[1]} ({WHEELS})"


def load_k2() -> Any:
    """The module k2; ValueError with the reason of `why_no_k2` where it cannot be used."""
    if why_no_k2():
        raise ValueError(f"this needs k2: {why_no_k2()}")
    import k2

    return k2
