"""Acceptors as arrays: language models G over word ids, of millions of arcs."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hainan_k2.fsa.k2 import Fsa, load_k2
from hainan_k2.fsa.language.openfst import FstFinal, is_number, read_fst_lines, shown


@dataclass(frozen=True, eq=False)
class Acceptor:
    """A weighted acceptor of S states and N arcs; the start is state 0. Scores are natural logarithms.

    >>> acceptor = read_acceptor("0 1 7 7 0.5\\n1 0.25\\n", "G.fst.txt", num_labels=10)
    >>> acceptor.label.tolist(), acceptor.score.tolist(), acceptor.final.tolist()
    ([7], [-0.5], [-inf, -0.25])
    """

    source: np.ndarray  # (N,) int64
    target: np.ndarray  # (N,) int64
    label: np.ndarray  # (N,) int64
    score: np.ndarray  # (N,) float64
    final: np.ndarray  # (S,) float64, -inf where a state is not final

    def arcs(self) -> Tensor:
        """(A, 4) int32, the arcs as k2 has them: source, target, label, and the bits of the float32 score."""
        (ending,) = np.isfinite(self.final).nonzero()
        ends = np.stack([ending, np.full_like(ending, len(self.final)), np.full_like(ending, -1)], axis=1)
        arcs = np.stack([self.source, self.target, self.label], axis=1)
        return k2_arcs(np.concatenate([arcs, ends]), np.concatenate([self.score, self.final[ending]]))[0]

    def fsa(self) -> Fsa:
        """The acceptor as a k2.Fsa, with aux_labels that are the labels, as icefall has G."""
        arcs = self.arcs()
        return load_k2().Fsa(arcs, arcs[:, 2].contiguous())

    def text(self) -> str:
        """OpenFst text with label ids and costs, the start state first."""
        arcs = zip(*(column.tolist() for column in (self.source, self.target, self.label, -self.score)))
        lines = [(source, f"{source} {target} {label} {label} {cost:.7g}\n") for source, target, label, cost in arcs]
        lines += [(s, f"{s} {-score:.7g}\n") for s, score in enumerate(self.final) if math.isfinite(score)]
        return "".join(line for _, line in sorted(lines, key=lambda numbered: numbered[0]))


def read_acceptor(text: str, name: str, num_labels: int) -> Acceptor:
    """An acceptor of label ids in OpenFst text, with lines `source target label label [cost]` and `state [cost]`.

    An output label may also be 0, as of a transducer whose outputs were left out. States are numbered in the order of
    the file, costs become scores.

    Args:
      name: the file's name, for messages.
      num_labels: labels are below it.
    Raises:
      ValueError: "FILE:LINE: ..." for a line of another form, "FILE: ..." without final state.
    """
    states: dict[int, int] = {}
    arcs, scores, ends = array("q"), array("d"), {}
    for entry in read_fst_lines(text, name, acceptor=False):
        source = states.setdefault(entry[0], len(states))
        if isinstance(entry, FstFinal):
            if entry.cost < math.inf:
                ends[source] = -entry.cost
            continue
        label, output = (_label_id(field, entry.place) for field in (entry.input, entry.output))
        if label >= num_labels:
            raise ValueError(f"{entry.place}: label {label} is not in the symbol table of {num_labels}")
        if output not in (label, 0):
            raise ValueError(f"{entry.place}: {label} becomes {output}: a language model is an acceptor")
        arcs.extend((source, states.setdefault(entry.target, len(states)), label))
        scores.append(-entry.cost)
    if not ends:
        raise ValueError(f"{name}: no final state, so it accepts nothing")
    final = np.full(len(states), -math.inf)
    final[list(ends)] = list(ends.values())
    source, target, label = np.array(arcs, dtype=np.int64).reshape(-1, 3).T
    return Acceptor(source, target, label, np.array(scores, dtype=np.float64), final)


def _label_id(field: str, place: str) -> int:
    if not is_number(field, 9):
        raise ValueError(f"{place}: {shown(field)} is no label id")
    return int(field)


def k2_arcs(table: np.ndarray, score: np.ndarray) -> tuple[Tensor, np.ndarray]:
    """Arcs as k2 has them, sorted by source and label with label -1 last, and the order that sorts them.

    Args:
      table: (A, 3 or more) source, target and label of every arc.
      score: (A,) natural logarithms.
    Returns:
      (A, 4) int32: source, target, label, and the bits of the float32 score; and (A,) indices into `table`.
    """
    order = np.lexsort((table[:, 2].astype(np.uint32), table[:, 0]))
    bits = score[order].astype(np.float32).view(np.int32)
    return torch.from_numpy(np.column_stack([table[order, :3].astype(np.int32), bits])), order
