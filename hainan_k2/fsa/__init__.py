"""Lattices: training losses and their pruning, decoding graphs. The only room that imports k2, when used."""

from hainan_k2.fsa.loss import rnnt_loss, tdt_loss, tdt_loss_pruned
from hainan_k2.fsa.nar_lattice import hypotheses_from_lattice, nar_lattice, shortest_path
from hainan_k2.fsa.pruning import tdt_prune, tdt_prune_bounds
from hainan_k2.fsa.scores import mwer_loss, tdt_sequence_scores
from hainan_k2.fsa.simple import tdt_loss_simple

__all__ = [
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
