"""The two backends that sum over training lattices, k2 and plain torch, and the choice between them."""

from __future__ import annotations

import functools
import logging
from typing import Callable, Optional

import torch
from torch import Tensor

from hainan_k2.fsa.k2 import load_k2, why_no_k2
from hainan_k2.fsa.losses import backend_k2, backend_torch

logger = logging.getLogger(__name__)

Occupancies = tuple[Tensor, Tensor, Tensor]  # of blank (B, T, S), label (B, T, S) and durations (B, T, S, D)
ForwardBackward = Callable[..., tuple[Tensor, Optional[Occupancies]]]

_FORWARD_BACKWARD: dict[str, ForwardBackward] = {
    "k2": backend_k2.forward_backward,
    "torch": backend_torch.forward_backward,
}


def find_backend(name: str, device: torch.device) -> ForwardBackward:
    """The `forward_backward` of backend `name`.

    "auto" is k2 where it works on the device; elsewhere it is torch, and one warning per process gives the reason.

    Raises:
      ValueError: for "k2" where it cannot be used; the message gives the reason.
    """
    if name != "torch":
        why = why_no_k2()
        if not why and device.type != "cpu" and not (device.type == "cuda" and load_k2().with_cuda):
            why = f"k2 is not built for {device.type}"
        if why and name == "k2":
            raise ValueError(f"backend='k2': {why}; backend='torch' does without")
        if why:
            _warn_once(why)
        name = "torch" if why else "k2"
    return _FORWARD_BACKWARD[name]


@functools.cache
def _warn_once(why: str) -> None:
    logger.warning("the losses take backend='torch': %s", why)
