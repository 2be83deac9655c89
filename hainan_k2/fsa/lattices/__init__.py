"""Decoding lattices: of the encoder alone, with language models, grammars and graphs; paths, n-best lists, files.

Nothing is imported here: `from hainan_k2.fsa.lattices.nar_lattice import nar_lattice`, or `from hainan_k2 import
nar_lattice`.
"""
