"""The columns of the hypotheses of an autoregressive search, and how hypotheses are merged.

A hypothesis is a row of int64 numbers, and a float64 score. Texts and keys are 64-bit hashes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

TIME = 0  # max_symbols x its row + the tokens that it has emitted there; a row is a frame, or the end of an utterance
TEXT = 1  # hash of its tokens
CONTEXT = 2  # its last tokens, packed; with a context of all tokens this is not used
STATE = 3  # of the automaton
NODE = 4  # its last token in the trail, -1 for none
PREDICTION = 5  # row of the predictor's output, for all tokens but TOKEN
TOKEN = 6  # its last token if the predictor has not seen it yet, else 0
KEY = 7  # the same for the same text, time and state
PLACE = 8  # the same for the same context, time and state
NUMBER = 9  # of its state in the lattice
COLUMNS = 10

_LOWEST = torch.finfo(torch.float64).min
_FACTORS = (6364136223846793005, 1442695040888963407, 2862933555777941757, 3202034522624059733)


def longer_text(text: Tensor, token: Tensor) -> Tensor:
    """The hash of texts followed by tokens; the shapes broadcast."""
    return (text + token) * _FACTORS[0] + _FACTORS[1]


def key_of(text: Tensor, state: Tensor, time: Tensor) -> Tensor:
    """The hash of texts (or contexts) and states (N, S) at times (N, S, E): (N, S, E)."""
    return ((text + state * _FACTORS[1]) * _FACTORS[2]).unsqueeze(2) + time * _FACTORS[3]


def merge(score: Tensor, key: Tensor, add: bool) -> tuple[Tensor, Tensor]:
    """Merge entries of the same key within each row.

    Args:
      score: (B, P) float64; key: (B, P) int64.
      add: whether the probabilities of the merged are added; if not, the best one counts.
    Returns:
      (B, P) scores: that of the merged at the place of the best of them, -inf at those of the others; and
      (B, P) int64, the place of the best entry with the same key.
    """
    order = score.sort(dim=1, descending=True, stable=True).indices
    ordered, by_key = key.gather(1, order).sort(dim=1, stable=True)
    again = pad(ordered[:, 1:] == ordered[:, :-1], (1, 0))
    column = torch.arange(key.shape[1], device=key.device).expand_as(key)
    if not again.any():
        return score, column
    order = order.gather(1, by_key)
    first = column.masked_fill(again, 0).cummax(1).values
    merged = score.gather(1, order)
    if add:
        share = (merged - merged.gather(1, first).clamp(min=_LOWEST)).exp()
        merged = merged + torch.zeros_like(merged).scatter_add_(1, first, share).log()
    merged = merged.masked_fill(again, -torch.inf)
    best = torch.empty_like(order).scatter_(1, order, order.gather(1, first))
    return torch.empty_like(score).scatter_(1, order, merged), best
