"""Other weights for a lattice that is there already: a sum over its arcs in place of another search.

The score of every arc is linear in the weights:

    log P_T(v | t)                     of tokens and blanks
    + duration_scale * log P_D(d | t) + skip_scale * (blanks on the frames that d skips)      of durations
    + token_bonus                      of tokens
    - blank_penalty                    of blanks
    + lm_scale * LM                    where a language model or a word graph took part

The lattice keeps lm_scale * LM as `lm_scores`; the terms of the durations follow from the log-probabilities. So each
term can have another weight. The paths of the lattice stay those that the search kept with the first weights: without
pruning, the best path is that of a search with the new ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.fsa.checks import check_lattice
from hainan_k2.fsa.fsavec import arc_owner
from hainan_k2.fsa.k2 import Fsa
from hainan_k2.fsa.lattices.duration_scores import skipped_blanks


@dataclass(frozen=True)
class PathWeights:
    """The weights of the terms of the module's docstring."""

    duration_scale: float = 1.0
    token_bonus: float = 0.0
    blank_penalty: float = 0.0
    skip_scale: float = 0.0
    lm_scale: float = 0.0


class WeightedLattice:
    """A lattice of nar_lattice, lm_lattice or intersect_tdt whose weights can be changed.

    Args:
      lattice: FsaVec of B with `frame` and `duration`; the object keeps it, and changes its scores.
      token_log_probs, duration_log_probs: (B, T, V) log P_T and (B, T, D) log P_D that it was made of, natural log.
      frame_lens: (B,) number of frames of every utterance.
      durations: the D durations in frames.
      weights: those that it was made with. Their lm_scale is 0 for a lattice without language model.
    Raises:
      ValueError: for a lattice that is a single FSA or not topologically sorted, and for one without `lm_scores` whose
        lm_scale is not 0, or the other way round.
    """

    def __init__(
        self,
        lattice: Fsa,
        token_log_probs: Tensor,
        duration_log_probs: Tensor,
        frame_lens: Tensor,
        durations: Sequence[int],
        weights: PathWeights,
    ) -> None:
        check_lattice(lattice)
        with_lm = hasattr(lattice, "lm_scores")
        if with_lm != bool(weights.lm_scale):
            raise ValueError(
                f"lm_scale is {weights.lm_scale:g} for a lattice {'with' if with_lm else 'without'} lm_scores"
            )
        self.lattice = lattice
        skipped = skipped_blanks(token_log_probs, frame_lens, durations)
        self._durations = arc_durations(lattice, duration_log_probs.double(), durations)
        self._skipped = arc_durations(lattice, skipped, durations)
        is_emission = lattice.frame >= 0
        self._tokens = (is_emission & (lattice.labels > BLANK)).double()
        self._blanks = (is_emission & (lattice.labels == BLANK)).double()
        self._lm = lattice.lm_scores.double() / weights.lm_scale if with_lm else None
        self._acoustic = lattice.scores.double() - self._weighted(weights)

    def _weighted(self, weights: PathWeights) -> Tensor:
        """(A,) float64, the terms that have a weight."""
        total = weights.duration_scale * self._durations + weights.skip_scale * self._skipped
        total += weights.token_bonus * self._tokens - weights.blank_penalty * self._blanks
        if self._lm is not None:
            total += weights.lm_scale * self._lm
        elif weights.lm_scale:
            raise ValueError(f"lm_scale is {weights.lm_scale:g}, but the lattice was made without a language model")
        return total

    def at(self, weights: PathWeights) -> Fsa:
        """The lattice with these weights: the same object each time, with other scores and lm_scores."""
        self.lattice.scores = (self._acoustic + self._weighted(weights)).float()
        if self._lm is not None:
            self.lattice.lm_scores = (weights.lm_scale * self._lm).float()
        return self.lattice


def arc_durations(lattice: Fsa, scores: Tensor, durations: Sequence[int]) -> Tensor:
    """(A,) the score of d at t, of scores (B, T, D), for every arc with a duration d; 0 elsewhere.

    A duration arc without a frame belongs to the frame of the token arcs that lead to its source.
    """
    arcs, owner = lattice.arcs.values().long(), arc_owner(lattice)
    first = lattice.arcs.shape().row_splits(1).long()[owner]
    frame, duration = lattice.frame.long(), lattice.duration.long()
    frame_of_state = frame.new_full((int(lattice.arcs.shape().row_splits(1)[-1]),), -1)
    emits = (frame >= 0).nonzero()[:, 0]
    frame_of_state[(arcs[:, 1] + first)[emits]] = frame[emits]
    frame = torch.where(frame >= 0, frame, frame_of_state[arcs[:, 0] + first])
    timed = (duration >= 0).nonzero()[:, 0]
    column = torch.searchsorted(torch.tensor(durations, device=duration.device), duration[timed])
    values = scores.new_zeros(len(duration))
    values[timed] = scores[owner[timed], frame[timed], column]
    return values
