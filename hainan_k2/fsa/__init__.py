"""Finite-state automata: training losses, what a language knows, decoding lattices. The only room that imports k2.

    k2.py, fsavec.py, checks.py     k2 itself, plain tensors to FsaVecs, checks of arguments
    losses/                         training lattices and their sums
    language/                       n-gram LMs, lexicons, grammars and hotwords as automata
    lattices/                       decoding lattices, their composition, paths, n-best lists, files

The public names are imported when they are first used, so that decoding does not load the losses; k2 is imported by
the first function that needs it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hainan_k2.fsa.language.grammar import Grammar as Grammar
    from hainan_k2.fsa.language.grammar import read_grammar as read_grammar
    from hainan_k2.fsa.language.ngram import NgramLm as NgramLm
    from hainan_k2.fsa.lattices.composition import compose as compose
    from hainan_k2.fsa.lattices.draw import draw_lattice as draw_lattice
    from hainan_k2.fsa.lattices.lm_lattice import lm_lattice as lm_lattice
    from hainan_k2.fsa.lattices.nar_lattice import nar_lattice as nar_lattice
    from hainan_k2.fsa.lattices.nbest import best_texts as best_texts
    from hainan_k2.fsa.lattices.nbest import text_scores as text_scores
    from hainan_k2.fsa.lattices.paths import hypotheses_from_lattice as hypotheses_from_lattice
    from hainan_k2.fsa.lattices.paths import shortest_path as shortest_path
    from hainan_k2.fsa.lattices.store import load_lattice as load_lattice
    from hainan_k2.fsa.lattices.store import save_lattice as save_lattice
    from hainan_k2.fsa.losses.options import LossOptions as LossOptions
    from hainan_k2.fsa.losses.pruning import rnnt_prune_bounds as rnnt_prune_bounds
    from hainan_k2.fsa.losses.pruning import tdt_prune as tdt_prune
    from hainan_k2.fsa.losses.pruning import tdt_prune_bounds as tdt_prune_bounds
    from hainan_k2.fsa.losses.sequence_scores import mwer_loss as mwer_loss
    from hainan_k2.fsa.losses.sequence_scores import tdt_sequence_scores as tdt_sequence_scores
    from hainan_k2.fsa.losses.simple import rnnt_loss_simple as rnnt_loss_simple
    from hainan_k2.fsa.losses.simple import tdt_loss_simple as tdt_loss_simple
    from hainan_k2.fsa.losses.tdt import rnnt_loss as rnnt_loss
    from hainan_k2.fsa.losses.tdt import tdt_loss as tdt_loss
    from hainan_k2.fsa.losses.tdt import tdt_loss_pruned as tdt_loss_pruned

PUBLIC = {  # the names by the module that defines them
    "language.grammar": ("Grammar", "read_grammar"),
    "language.ngram": ("NgramLm",),
    "lattices.composition": ("compose",),
    "lattices.draw": ("draw_lattice",),
    "lattices.lm_lattice": ("lm_lattice",),
    "lattices.nar_lattice": ("nar_lattice",),
    "lattices.nbest": ("best_texts", "text_scores"),
    "lattices.paths": ("hypotheses_from_lattice", "shortest_path"),
    "lattices.store": ("load_lattice", "save_lattice"),
    "losses.options": ("LossOptions",),
    "losses.pruning": ("rnnt_prune_bounds", "tdt_prune", "tdt_prune_bounds"),
    "losses.sequence_scores": ("mwer_loss", "tdt_sequence_scores"),
    "losses.simple": ("rnnt_loss_simple", "tdt_loss_simple"),
    "losses.tdt": ("rnnt_loss", "tdt_loss", "tdt_loss_pruned"),
}
_MODULE_OF = {name: module for module, names in PUBLIC.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
