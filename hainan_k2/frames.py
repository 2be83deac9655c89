"""The two frame rates of every model here: feature frames of 10 ms, and encoder frames of 80 ms, eight times fewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

Length = TypeVar("Length", int, "Tensor")

FEATURE_FRAME_SHIFT = 0.01  # seconds between feature frames (fbank, log-mel)
ENCODER_FRAME_SHIFT = 0.08  # seconds between encoder frames, and the unit of token durations


def subsampled_length(length: Length) -> Length:
    """Encoder frames, ceil(length / 8), of `length` feature frames (an int or an int tensor).

    The count is that of three convolutions of stride 2 and padding 1 (FastConformer, arXiv 2305.05084, section 3.1).

    >>> subsampled_length(100)
    13
    """
    for _ in range(3):
        length = (length - 1) // 2 + 1
    return length
