"""Normalisation of features per utterance: zero mean and unit variance in every mel bin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Union

import torch
from torch import Tensor

# A mel bin whose log energy hardly varies (a band that the recording lacks) holds rounding noise. Without a floor under
# its standard deviation that noise would be scaled up to the size of speech, whose deviation is 2 to 4.
MIN_DEVIATION = 0.1


def normalise(features: Tensor) -> Tensor:
    """One utterance (T, F) to zero mean and unit variance in every bin (T, F).

    >>> normalise(torch.tensor([[1.0], [3.0], [5.0]])).flatten()
    tensor([-1.,  0.,  1.])
    """
    centred = features - features.mean(dim=0)
    variance = centred.square().sum(dim=0) / max(len(features) - 1, 1)
    return centred / variance.sqrt().clamp(min=MIN_DEVIATION)


def normalise_batch(features: Tensor, lens: Union[Tensor, Sequence[int]]) -> Tensor:
    """`normalise` for every utterance of a padded batch (B, T, F) with `lens` (B,) frames; padding becomes 0.

    Utterances are reduced one by one, so a result does not depend, to the last bit, on the others of the batch. Raises
    ValueError for lens that do not fit the features.
    """
    lengths = [int(length) for length in lens]
    if len(lengths) != len(features) or max(lengths, default=0) > features.shape[1]:
        raise ValueError(f"lens {lengths} do not fit features {tuple(features.shape)}")
    normalised = torch.zeros_like(features)
    for index, length in enumerate(lengths):
        normalised[index, :length] = normalise(features[index, :length])
    return normalised
