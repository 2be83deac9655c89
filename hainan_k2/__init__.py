"""HAINAN speech recognition on k2: the public names.

Losses (`tdt_loss` and its pruned form), the decoding lattice (`nar_lattice`, `lm_lattice`, `compose` with a grammar,
`shortest_path`), the model and the searches, and `Recognizer`: audio in, words out. Importing this needs no k2; what
builds lattices with it imports k2 when called.
"""

from typing import Any

__version__ = "0.1.0"  # setup.cfg reads it here

from hainan_k2.config import ModelConfig
from hainan_k2.fsa import (
    Grammar,
    NgramLm,
    best_texts,
    compose,
    draw_lattice,
    hypotheses_from_lattice,
    load_lattice,
    mwer_loss,
    read_grammar,
    rnnt_loss,
    save_lattice,
    shortest_path,
    tdt_loss,
    tdt_loss_pruned,
    tdt_loss_simple,
    tdt_prune,
    tdt_prune_bounds,
    tdt_sequence_scores,
    text_scores,
)
from hainan_k2.fsa.lattices import lm_lattice, nar_lattice
from hainan_k2.kernels import choose_mkl_kernels
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis, Token, Transcription, Word
from hainan_k2.search import METHODS, SearchConfig

__all__ = [
    "METHODS",
    "Grammar",
    "Hainan",
    "Hypothesis",
    "ModelConfig",
    "NgramLm",
    "Recognizer",
    "SearchConfig",
    "Token",
    "Transcription",
    "Word",
    "best_texts",
    "compose",
    "draw_lattice",
    "hypotheses_from_lattice",
    "lm_lattice",
    "load_lattice",
    "mwer_loss",
    "nar_lattice",
    "read_grammar",
    "rnnt_loss",
    "save_lattice",
    "shortest_path",
    "tdt_loss",
    "tdt_loss_pruned",
    "tdt_loss_simple",
    "tdt_prune",
    "tdt_prune_bounds",
    "tdt_sequence_scores",
    "text_scores",
]

choose_mkl_kernels()


def __getattr__(name: str) -> Any:
    if name == "Recognizer":  # not before it is asked for: it takes lhotse and SciPy with it, which losses do without
        from hainan_k2.inference.recognizer import Recognizer

        return Recognizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
