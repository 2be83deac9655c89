"""The arcs of a decoding lattice as plain tensors: what a k2.FsaVec is made of, and what torch searches without k2.

States are in layers, and every arc leads to a later layer. For frames t = 0 ... T the layers of nar_lattice are its
states 0 ... 2T + 1, those of lm_lattice the frames and the final state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import torch
from torch import Tensor

from hainan_k2.fsa.fsavec import ragged_arcs
from hainan_k2.fsa.k2 import Fsa, load_k2


@dataclass(frozen=True)
class Arcs:
    """The A arcs of a batch of B lattices with S states in all, in the order of their source states.

    States are numbered within their lattice: the start is 0, the final state the last. Only arcs with label -1 lead to
    the final state. A lattice of 0 states has no path.
    """

    num_states: Tensor  # (B,) int64, the final state included
    leaving: Tensor  # (S,) int64, number of arcs that leave each state
    layer: Tensor  # (S,) int64, not descending within a lattice
    source: Tensor  # (A,) int64
    target: Tensor  # (A,) int64
    label: Tensor  # (A,) int64; blanks and durations have 0, k2's epsilon
    score: Tensor  # (A,) float32, natural log; may require gradients
    frame: Tensor  # (A,) int64, of a token; -1 elsewhere
    duration: Tensor  # (A,) int64, of an arc with a duration; -1 elsewhere
    lm_score: Optional[Tensor] = None  # (A,) float32, the part of the score that is from language models and hotwords

    @property
    def first(self) -> Tensor:
        """(B,) row of every lattice's start among the S states."""
        return self.num_states.cumsum(0) - self.num_states

    def owner(self) -> Tensor:
        """(A,) the lattice of every arc."""
        return torch.repeat_interleave(self.num_states).repeat_interleave(self.leaving)

    def fsa(self) -> Fsa:
        """The lattices as a k2.Fsa (FsaVec of B), connected if these arcs are.

        Its attributes are `frame`, `duration`, `aux_labels`, which are the labels, and, where a language model took
        part, `lm_scores`, so that scores - lm_scores are the acoustic ones. Raises ValueError where k2 does not work.
        """
        rows = torch.stack([self.source, self.target, self.label, torch.zeros_like(self.label)], dim=1).int()
        lattice = load_k2().Fsa(ragged_arcs(self.num_states, self.leaving, rows))
        lattice.scores = self.score
        lattice.frame, lattice.duration = self.frame.int(), self.duration.int()
        lattice.frame_filler = lattice.duration_filler = -1
        lattice.aux_labels = self.label.int()
        if self.lm_score is not None:
            lattice.lm_scores = self.lm_score
        return lattice
