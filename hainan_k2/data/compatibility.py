"""A check that the installed versions of lhotse and torch work together."""

from __future__ import annotations

import functools

import lhotse
import torch
from lhotse import CutSet
from lhotse.dataset import SimpleCutSampler


@functools.cache
def check_lhotse() -> None:
    """Raises ValueError where this lhotse cannot make a sampler with this torch.

    lhotse up to 1.32 passes `data_source` to torch's Sampler, which torch 2 refuses; later versions do not pass it, and
    torch 1.13 requires it.
    """
    try:
        SimpleCutSampler(CutSet(), max_duration=1.0)
    except TypeError as error:
        raise ValueError(
            f"lhotse {lhotse.__version__} does not work with torch {torch.__version__} ({error}): torch 2 "
            "needs lhotse 1.33 or newer, torch 1.13 needs lhotse 1.32.1"
        ) from None
