"""k2's FsaVec, a batch of FSAs that store their arcs one after another, made of plain tensors and taken apart."""

from __future__ import annotations

import torch
from torch import Tensor

from hainan_k2.fsa.k2 import Fsa, RaggedArc, load_k2


def ragged_arcs(num_states: Tensor, leaving: Tensor, arcs: Tensor) -> RaggedArc:
    """The arcs of B FSAs in the form that `k2.Fsa(...)` takes.

    Args:
      num_states: (B,) number of states of every FSA, the final state included.
      leaving: (S,) number of arcs that leave each of the S = sum(num_states) states.
      arcs: (A, 4) int32 rows (source, target, label, 0) in the order of their source states; states are numbered
        within their own FSA.
    """
    k2 = load_k2()
    import _k2

    states, arcs_of_states = (
        k2.ragged.create_ragged_shape2(
            row_splits=torch.nn.functional.pad(counts.cumsum(0), (1, 0)).int(), cached_tot_size=size
        )
        for counts, size in ((num_states, len(leaving)), (leaving, len(arcs)))
    )
    return _k2.RaggedArc(states.compose(arcs_of_states), arcs)


def arc_owner(fsas: Fsa) -> Tensor:
    """(A,) int64: which FSA of an FsaVec each arc belongs to."""
    shape = fsas.arcs.shape()
    return shape.row_ids(1)[shape.row_ids(2).long()].long()
