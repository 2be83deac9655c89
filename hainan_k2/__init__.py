"""HAINAN speech recognition on k2: the public names.

Losses (`tdt_loss` and its pruned form), the decoding lattice (`nar_lattice`, `shortest_path`), the model and the
searches. Importing this needs no k2; what builds lattices with it imports k2 when called.
"""

from hainan_k2.config import ModelConfig
from hainan_k2.fsa import (
    hypotheses_from_lattice,
    mwer_loss,
    nar_lattice,
    rnnt_loss,
    shortest_path,
    tdt_loss,
    tdt_loss_pruned,
    tdt_loss_simple,
    tdt_prune,
    tdt_prune_bounds,
    tdt_sequence_scores,
)
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis, Token, Word
from hainan_k2.search import METHODS, SearchConfig

__all__ = [
    "METHODS",
    "Hainan",
    "Hypothesis",
    "ModelConfig",
    "SearchConfig",
    "Token",
    "Word",
    "hypotheses_from_lattice",
    "mwer_loss",
    "nar_lattice",
    "rnnt_loss",
    "shortest_path",
    "tdt_loss",
    "tdt_loss_pruned",
    "tdt_loss_simple",
    "tdt_prune",
    "tdt_prune_bounds",
    "tdt_sequence_scores",
]
