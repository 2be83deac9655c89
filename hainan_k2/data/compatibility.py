"""Whether the installed lhotse and torch work with each other."""

from __future__ import annotations

import functools

import lhotse
import torch
from lhotse import CutSet
from lhotse.dataset import SimpleCutSampler


@functools.cache
def check_lhotse() -> None:
    """ValueError where this lhotse makes no sampler with this torch: lhotse up to 1.32 gives torch's Sampler the
    argument `data_source`, which torch 2 refuses; later ones leave it out, and torch 1.13 wants it."""
    try:
        SimpleCutSampler(CutSet(), max_duration=1.0)
    except TypeError as error:
        raise ValueError(
            f"lhotse {lhotse.__version__} does not work with torch {torch.__version__} ({error}): torch 2 "
            "needs lhotse 1.33 or newer, torch 1.13 needs lhotse 1.32.1"
        ) from None
