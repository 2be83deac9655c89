"""Numbers in one byte each: 256 values, and for each number the code of the nearest."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

NUM_CODES = 256
_LOWEST_CODES, _LOWEST_SHARE = 16, 0.001


def quantised(values: Tensor) -> tuple[Tensor, Tensor]:
    """256 values (256,) float32, ascending, and for each of `values` (N,) the number of the nearest one (N,) uint8.

    -inf has a code of its own.
    """
    exact = values.double().numpy()
    finite = np.sort(exact[np.isfinite(exact)])
    infinite = bool(len(finite) < len(exact))
    distinct = np.unique(finite)
    room = NUM_CODES - infinite
    if len(distinct) > room:
        distinct = _means(finite, room)
    table = np.append([-np.inf] if infinite else [], distinct)
    middles = (table[1:] + table[:-1]) / 2  # between -inf and a number: -inf
    codes = np.searchsorted(middles, exact, side="right")
    if infinite:
        codes = np.where(np.isfinite(exact), np.maximum(codes, 1), 0)
    padded = np.append(table, np.full(NUM_CODES - len(table), table[-1]))
    return torch.from_numpy(padded).float(), torch.from_numpy(codes.astype(np.uint8))


def _means(values: np.ndarray, count: int) -> np.ndarray:
    """(count,) values at most, ascending, that are near to `values` (N,), sorted: the means of intervals.

    The lowest values are rare and far apart: intervals of equally many. All others: intervals of equal width, since the
    highest probabilities, which are few, occur most often in texts.
    """
    lowest, rest = np.split(values, [int(_LOWEST_SHARE * len(values))])
    edges = np.linspace(rest[0], rest[-1], count - _LOWEST_CODES + 1)
    number = np.clip(np.searchsorted(edges, rest, side="right") - 1, 0, len(edges) - 2)
    counts = np.bincount(number)
    means = np.bincount(number, rest)[counts > 0] / counts[counts > 0]
    parts = [part.mean() for part in np.array_split(lowest, _LOWEST_CODES) if len(part)]
    return np.unique(np.append(parts, means))
