"""HAINAN speech recognition on k2: the public names.

Losses (`tdt_loss` and its pruned form), the decoding lattice (`nar_lattice`, `lm_lattice`, `compose` with a grammar,
`shortest_path`), the model, the searches, and `Recognizer`: audio in, words out.

    >>> import hainan_k2
    >>> recognizer = hainan_k2.Recognizer.load("released")
    >>> recognizer.transcribe(["tests/data/jfk.flac"], method="nar-greedy")[0].words[0].text
    'and'

A name is imported when it is used first (PEP 562), so that `import hainan_k2` loads nothing heavy, torch and k2 among
it. Only what builds lattices needs k2.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hainan_k2.kernels import choose_mkl_kernels

if TYPE_CHECKING:
    from hainan_k2.config import ModelConfig as ModelConfig
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
    from hainan_k2.fsa.lattices.times import lattice_times as lattice_times
    from hainan_k2.fsa.lattices.times import texts_with_times as texts_with_times
    from hainan_k2.fsa.losses.options import LossOptions as LossOptions
    from hainan_k2.fsa.losses.pruning import tdt_prune as tdt_prune
    from hainan_k2.fsa.losses.pruning import tdt_prune_bounds as tdt_prune_bounds
    from hainan_k2.fsa.losses.sequence_scores import mwer_loss as mwer_loss
    from hainan_k2.fsa.losses.sequence_scores import tdt_sequence_scores as tdt_sequence_scores
    from hainan_k2.fsa.losses.simple import tdt_loss_simple as tdt_loss_simple
    from hainan_k2.fsa.losses.tdt import rnnt_loss as rnnt_loss
    from hainan_k2.fsa.losses.tdt import tdt_loss as tdt_loss
    from hainan_k2.fsa.losses.tdt import tdt_loss_pruned as tdt_loss_pruned
    from hainan_k2.inference.aligner import Aligner as Aligner
    from hainan_k2.inference.recognizer import Recognizer as Recognizer
    from hainan_k2.model.hainan import Hainan as Hainan
    from hainan_k2.result import Hypothesis as Hypothesis
    from hainan_k2.result import Token as Token
    from hainan_k2.result import Transcription as Transcription
    from hainan_k2.result import Word as Word
    from hainan_k2.search.methods import METHODS as METHODS
    from hainan_k2.search.options import SearchConfig as SearchConfig
    from hainan_k2.search.resources import DecodingResources as DecodingResources

__version__ = "0.1.0"  # setup.cfg reads it here

PUBLIC = {  # the names by the module that defines them
    "config": ("ModelConfig",),
    "fsa.language.grammar": ("Grammar", "read_grammar"),
    "fsa.language.ngram": ("NgramLm",),
    "fsa.lattices.composition": ("compose",),
    "fsa.lattices.draw": ("draw_lattice",),
    "fsa.lattices.lm_lattice": ("lm_lattice",),
    "fsa.lattices.nar_lattice": ("nar_lattice",),
    "fsa.lattices.nbest": ("best_texts", "text_scores"),
    "fsa.lattices.paths": ("hypotheses_from_lattice", "shortest_path"),
    "fsa.lattices.store": ("load_lattice", "save_lattice"),
    "fsa.lattices.times": ("lattice_times", "texts_with_times"),
    "fsa.losses.options": ("LossOptions",),
    "fsa.losses.pruning": ("tdt_prune", "tdt_prune_bounds"),
    "fsa.losses.sequence_scores": ("mwer_loss", "tdt_sequence_scores"),
    "fsa.losses.simple": ("tdt_loss_simple",),
    "fsa.losses.tdt": ("rnnt_loss", "tdt_loss", "tdt_loss_pruned"),
    "inference.aligner": ("Aligner",),
    "inference.recognizer": ("Recognizer",),
    "model.hainan": ("Hainan",),
    "result": ("Hypothesis", "Token", "Transcription", "Word"),
    "search.methods": ("METHODS",),
    "search.options": ("SearchConfig",),
    "search.resources": ("DecodingResources",),
}
_MODULES = {name: module for module, names in PUBLIC.items() for name in names}

__all__ = sorted(_MODULES)

choose_mkl_kernels()


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
