"""Normalisation of features per utterance: zero mean and unit variance in every mel bin."""

from __future__ import annotations

from torch import Tensor

# A mel bin whose log energy hardly varies (a band that the recording lacks) holds rounding noise. Without a floor under
# its standard deviation that noise would be scaled up to the size of speech, whose deviation is 2 to 4.
MIN_DEVIATION = 0.1


def normalise(features: Tensor) -> Tensor:
    """One utterance (T, F) to zero mean and unit variance in every bin (T, F).

    >>> import torch
    >>> normalise(torch.tensor([[1.0], [3.0], [5.0]])).flatten()
    tensor([-1.,  0.,  1.])
    """
    centred = features - features.mean(dim=0)
    variance = centred.square().sum(dim=0) / max(len(features) - 1, 1)
    return centred / variance.sqrt().clamp(min=MIN_DEVIATION)
