"""Word graphs of icefall: a lang folder with LG.pt, tokens.txt and words.txt, such as lang_bpe_500, taken as it is.

LG.pt is determinized, and its epsilons are removed, so that an arc may have any number of words, on other tokens than
their own, and words may be left for the final arcs. Here an arc gets one output: several words are an output of their
own, "the cat". `DecodingGraph.aligned` is False for such a graph.

Tokens are matched by name: a model may number them in another way than the folder. Nothing in the files is executed
(hainan_k2.fsa.k2_file).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.files.pickle_machine import Ragged
from hainan_k2.fsa.k2 import load_k2
from hainan_k2.fsa.k2_file import K2File, ragged_tensor, read_k2
from hainan_k2.fsa.language.lexicon import read_words

GRAPH = "LG.pt"


def read_icefall_graph(path: Path, pieces: Sequence[str]) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """The LG of a lang folder, or of a file in one, for a model with these pieces.

    Returns arcs (A, 4) int32 with the columns of those of DecodingGraph, outputs (A,) int32, of which 0 is none,
    also on final arcs, and the texts of the outputs.

    Raises:
      ValueError: with the file, where one is missing or damaged, or the model lacks a token that the graph has.
    """
    path = path / GRAPH if path.is_dir() else path
    graph, folder, k2 = read_k2(path), path.parent, load_k2()
    symbols, words = read_words(folder / "tokens.txt"), read_words(folder / "words.txt")
    outputs = graph.attributes.get("aux_labels")
    if graph.is_vec or outputs is None or isinstance(outputs, Tensor) and outputs.dtype != torch.int32:
        raise ValueError(f"{path} is no LG: it should be one FSA with aux_labels, which are int32")
    if not len(graph.arcs):
        raise ValueError(f"{path} accepts no text")
    arcs = graph.arcs.clone()
    arcs[:, 2] = _labels(graph, symbols, pieces, path)
    fsa = k2.Fsa(arcs)
    fsa.aux_labels = ragged_tensor(outputs) if isinstance(outputs, Ragged) else outputs
    if (fsa.labels == BLANK).any():
        fsa = k2.remove_epsilon(fsa)
    fsa = k2.arc_sort(k2.connect(fsa))
    if not fsa.num_arcs:
        raise ValueError(f"{path} accepts no text")
    of_arc = fsa.aux_labels.tolist()
    rows = [[word for word in (row if isinstance(row, list) else [row]) if word > 0] for row in of_arc]
    highest = max((word for row in rows for word in row), default=0)
    if highest >= len(words):
        raise ValueError(f"{path} has word {highest}, {folder / 'words.txt'} has {len(words)}: they do not fit")
    texts = list(words)
    ids: dict[tuple[int, ...], int] = {(): 0, **{(word,): word for word in range(1, len(words))}}
    for row in rows:
        if ids.setdefault(tuple(row), len(texts)) == len(texts):
            texts.append(" ".join(words[word] for word in row))
    return fsa.arcs.values().clone(), torch.tensor([ids[tuple(row)] for row in rows], dtype=torch.int32), tuple(texts)


def _labels(graph: K2File, symbols: Sequence[str], pieces: Sequence[str], path: Path) -> Tensor:
    """The labels (A,) as ids of `pieces`; those of disambiguation symbols are epsilon."""
    number = {piece: id for id, piece in enumerate(pieces)}
    label = graph.arcs[:, 2].long()
    table = torch.full((len(symbols) + 1,), -2)
    table[-1] = -1  # of label -1
    for id, symbol in enumerate(symbols):
        table[id] = BLANK if id == BLANK or symbol.startswith("#") and symbol[1:].isdigit() else number.get(symbol, -2)
    if int(label.max()) >= len(symbols):
        raise ValueError(f"{path} has token {int(label.max())}, tokens.txt beside it has {len(symbols)}")
    found = table[label]
    if (found == -2).any():
        missing = symbols[int(label[found == -2][0])]
        raise ValueError(
            f"{path} has the token {missing!r}, which is no piece of the model: it is of another BPE model"
        )
    return found.int()
