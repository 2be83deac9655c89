"""Lattices: training losses and their pruning, decoding graphs. The only room that imports k2, when used."""

from hainan_k2.fsa.language.grammar import Grammar, read_grammar
from hainan_k2.fsa.language.ngram import NgramLm
from hainan_k2.fsa.lattices.composition import compose
from hainan_k2.fsa.lattices.draw import draw_lattice
from hainan_k2.fsa.lattices.lm_lattice import lm_lattice
from hainan_k2.fsa.lattices.nar_lattice import nar_lattice
from hainan_k2.fsa.lattices.nbest import best_texts, text_scores
from hainan_k2.fsa.lattices.paths import hypotheses_from_lattice, shortest_path
from hainan_k2.fsa.lattices.store import load_lattice, save_lattice
from hainan_k2.fsa.losses.pruning import tdt_prune, tdt_prune_bounds
from hainan_k2.fsa.losses.sequence_scores import mwer_loss, tdt_sequence_scores
from hainan_k2.fsa.losses.simple import tdt_loss_simple
from hainan_k2.fsa.losses.tdt import rnnt_loss, tdt_loss, tdt_loss_pruned

__all__ = [
    "Grammar",
    "NgramLm",
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
