"""Weights packed for storage: float32, float16, or int8 with scales.

Only tensors of two or more dimensions are packed; the others (biases, norms) stay float32. int8 stores NAME, integers
from -127 to 127, and NAME.scale, float32 with one scale per index of the first dimension; the weight is their product.
Unpacked weights are float32.
"""

from __future__ import annotations

import torch
from torch import Tensor

PRECISIONS = ("float32", "float16", "int8")
SCALE = ".scale"


def pack(weights: dict[str, Tensor], precision: str) -> dict[str, Tensor]:
    """Weights in a precision of PRECISIONS; ValueError for values that float16 cannot represent.

    >>> pack({"w": torch.tensor([[1.0, -1.0], [0.0, 2.54]])}, "int8")["w"].tolist()
    [[127, -127], [0, 127]]
    """
    packed: dict[str, Tensor] = {}
    for name, value in weights.items():
        value = value.detach().cpu().contiguous()
        if precision == "float32" or value.ndim < 2 or not value.is_floating_point():
            packed[name] = value
        elif precision == "float16":
            packed[name] = value.half()
            if not torch.isfinite(packed[name]).all():
                raise ValueError(f"{name} has values up to {float(value.abs().max()):.3g}: float16 cannot hold them")
        else:
            scale = value.flatten(1).abs().amax(1) / 127
            steps = value / _beside(scale, value).clamp(min=torch.finfo(torch.float32).tiny)
            packed[name], packed[name + SCALE] = steps.round().clamp(-127, 127).to(torch.int8), scale
    return packed


def unpack(packed: dict[str, Tensor]) -> dict[str, Tensor]:
    """The float32 weights of packed ones; ValueError for int8 weights and scales that do not fit each other."""
    weights = {name: value.float() if value.is_floating_point() else value for name, value in packed.items()}
    for name in [name for name, value in packed.items() if value.dtype == torch.int8]:
        scale, value = weights.pop(name + SCALE, None), weights[name]
        if scale is None or value.ndim < 2 or scale.shape != value.shape[:1]:
            raise ValueError(
                f"{name} is int8 of shape {tuple(value.shape)} and needs {name + SCALE} with a scale for every row"
            )
        weights[name] = value.float() * _beside(scale, value)
    return weights


def _beside(scale: Tensor, value: Tensor) -> Tensor:
    """(N,) as (N, 1, ...), for multiplication with (N, ...)."""
    return scale.view(-1, *[1] * (value.ndim - 1))
