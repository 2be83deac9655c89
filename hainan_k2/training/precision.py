"""Half precision in training: what computes in it, and the scale of the loss that float16 needs."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager
from typing import Any

import torch

_HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def check_precision(device: torch.device, precision: str, predictor: str = "lstm") -> None:
    """Raises ValueError where torch cannot train in this precision on the device.

    float16 on CPUs needs torch 2.3, and for an LSTM `predictor` a processor that computes in float16.
    """
    if precision not in _HALVES:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # some versions warn, and compute in float32
            with torch.autocast(device.type, _HALVES[precision]):
                if predictor == "lstm":
                    torch.nn.LSTM(8, 8).to(device)(torch.zeros(2, 1, 8, device=device))[0].sum().backward()
        works = precision != "float16" or device.type == "cuda" or hasattr(torch.amp, "GradScaler")
    except (RuntimeError, Warning):
        works = False
    if not works:
        raise ValueError(
            f"--precision {precision}: torch {torch.__version__} cannot train this model in it on this {device.type}; "
            "use bfloat16 or float32"
        )


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """torch's context in which matrices are multiplied in a half precision; it changes nothing for float32."""
    context: AbstractContextManager[Any] = torch.autocast(
        device.type, _HALVES.get(precision, torch.bfloat16), enabled=precision in _HALVES
    )
    return context


def loss_scaler(device: torch.device, precision: str) -> Any:
    """torch's GradScaler. For float16 it multiplies the loss, so that small gradients do not become 0, and adapts the
    factor; otherwise it does nothing. bfloat16 has the range of float32."""
    scaled = precision == "float16"
    if hasattr(torch.amp, "GradScaler"):  # torch 2.3
        return torch.amp.GradScaler(device.type, enabled=scaled)
    return torch.cuda.amp.GradScaler(enabled=scaled)
