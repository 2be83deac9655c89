"""Weights packed for storage, float32, float16, bfloat16, or int8 with scales; and a model that computes in these.

Only tensors of two or more dimensions are packed; the others (biases, norms) stay float32. int8 stores NAME, integers
from -127 to 127, and NAME.scale, float32 with one scale per index of the first dimension; the weight is their product.
Unpacked weights are float32. Stored tensors are packed and unpacked when they are read.
"""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable
from typing import Union

import torch
from torch import Tensor, nn

from hainan_k2.files.tensors import Stored, Weights, in_memory

PRECISIONS = ("float32", "float16", "bfloat16", "int8")
SCALE = ".scale"
_HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def pack(weights: Weights, precision: str) -> Weights:
    """Weights in a precision of PRECISIONS; ValueError for values that float16 cannot represent.

    >>> pack({"w": torch.tensor([[1.0, -1.0], [0.0, 2.54]])}, "int8")["w"].tolist()
    [[127, -127], [0, 127]]
    """
    packed: dict[str, Union[Tensor, Stored]] = {}
    for name, value in weights.items():
        shape = tuple(value.shape)
        if not value.dtype.is_floating_point:
            packed[name] = value
        elif precision == "float32" or len(shape) < 2:
            packed[name] = _changed(value, _as_float32, shape, torch.float32)
        elif precision in _HALVES:
            packed[name] = _changed(value, _rounded(name, _HALVES[precision]), shape, _HALVES[precision])
        else:
            packed[name] = _changed(value, _int8, shape, torch.int8)
            packed[name + SCALE] = _changed(value, _scale, shape[:1], torch.float32)
    return packed


def unpack(packed: Weights) -> Weights:
    """The float32 weights of packed ones; ValueError for int8 weights and scales that do not fit each other."""
    weights: dict[str, Union[Tensor, Stored]] = {}
    for name, value in packed.items():
        scale, scaled = packed.get(name + SCALE), packed.get(name[: -len(SCALE)]) if name.endswith(SCALE) else None
        if value.dtype == torch.int8:
            if scale is None or len(value.shape) < 2 or tuple(scale.shape) != tuple(value.shape[:1]):
                raise ValueError(
                    f"{name} is int8 of shape {tuple(value.shape)} and needs {name + SCALE} with a scale for every row"
                )
            weights[name] = _changed(value, _scaled_by(scale), tuple(value.shape), torch.float32)
        elif scaled is None or scaled.dtype != torch.int8:
            dtype = torch.float32 if value.dtype.is_floating_point else value.dtype
            weights[name] = _changed(value, _as_float32, tuple(value.shape), dtype)
    return weights


def _changed(
    value: Union[Tensor, Stored], function: Callable[[Tensor], Tensor], shape: tuple[int, ...], dtype: torch.dtype
) -> Union[Tensor, Stored]:
    """function(value), which is of this shape and type, computed when a stored tensor is read."""
    if isinstance(value, Stored):
        return value.map(function, shape, dtype)
    return function(value.detach().cpu().contiguous())


def _as_float32(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def _rounded(name: str, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    def function(value: Tensor) -> Tensor:
        rounded = value.to(dtype)
        if not is_finite(rounded):
            largest = float(value.abs().max())
            raise ValueError(f"{name} has values up to {largest:.3g}: {str(dtype)[6:]} cannot hold them")
        return rounded

    return function


def _scale(value: Tensor) -> Tensor:
    return value.float().flatten(1).abs().amax(1) / 127


def _int8(value: Tensor) -> Tensor:
    steps = value.float() / _beside(_scale(value), value).clamp(min=torch.finfo(torch.float32).tiny)
    return steps.round().clamp(-127, 127).to(torch.int8)


def _scaled_by(scale: Union[Tensor, Stored]) -> Callable[[Tensor], Tensor]:
    return lambda value: value.float() * _beside(in_memory(scale), value)


def _beside(scale: Tensor, value: Tensor) -> Tensor:
    """(N,) as (N, 1, ...), for multiplication with (N, ...)."""
    return scale.view(-1, *[1] * (value.ndim - 1))


def is_finite(value: Tensor) -> bool:
    """Whether no value is infinite or NaN: in float64 the sum of finite ones is finite, and it takes no memory."""
    return not value.is_floating_point() or math.isfinite(float(value.sum(dtype=torch.float64)))


def check_precision(precision: str, device: torch.device) -> None:
    """Raises ValueError for an unknown precision, and for one that torch cannot compute in on this device."""
    if precision not in PRECISIONS:
        raise ValueError(f"no precision {precision!r}; there are {', '.join(PRECISIONS)}")
    dtype = encoder_dtype(precision)
    if precision == "int8" and device.type != "cpu":
        raise ValueError(f"precision int8 is computed on CPUs only, not on {device}: choose float16 or bfloat16")
    if dtype != torch.float32:
        try:
            x = torch.ones(1, 4, 4, dtype=dtype, device=device)
            nn.functional.layer_norm(nn.functional.conv1d(x, x), (1,))
        except RuntimeError:
            others = ", ".join(other for other in PRECISIONS if other != precision)
            raise ValueError(
                f"torch {torch.__version__} does not compute in {precision} on {device}: choose from {others}"
            ) from None


def encoder_dtype(precision: str) -> torch.dtype:
    """The type of the encoder's weights in memory: float16 and bfloat16 as they are, float32 for the others."""
    return _HALVES.get(precision, torch.float32)


def quantised(layer: nn.Linear) -> nn.Module:
    """The linear layer in int8, with a scale for each row of its matrix, and for each input when it is computed."""
    from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

    wrapped = quantize_dynamic(nn.Sequential(layer), {nn.Linear: per_channel_dynamic_qconfig}, inplace=True)
    module: nn.Module = wrapped[0]
    layer.weight.data = torch.empty(0)  # torch's observers keep the layer in a reference cycle
    _return_freed_memory()
    return module


def _return_freed_memory() -> None:
    """Give freed memory back to the system. glibc keeps it if it lies between tensors in use: twice the model's size,
    where each float32 matrix is freed after its int8 form was made."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
