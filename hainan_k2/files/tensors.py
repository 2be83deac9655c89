"""Tensors to safetensors bytes and back: the format of all tensors that this package writes.

A file consists of the length of the header (8 bytes, little endian), the header (JSON, padded with spaces to a multiple
of 8 bytes) and the values of all tensors, the widest types first so that each is aligned. The header contains
`__metadata__`, a dict of texts, and the type, shape and position of every tensor
(https://github.com/huggingface/safetensors).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Union

import torch
from safetensors import SafetensorError, deserialize
from torch import Tensor

TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_CODES = {kind: code for code, kind in TYPES.items()}
_MAX_HEADER = 100_000_000  # bytes; the limit of the safetensors library


@dataclass(frozen=True)
class Stored:
    """A tensor that is not in memory. `read()` gives a new tensor of this shape and type on the CPU."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]

    def to(self, dtype: torch.dtype) -> Stored:
        """The same values in another type."""
        return self if dtype == self.dtype else self.map(lambda value: value.to(dtype), self.shape, dtype)

    def map(self, function: Callable[[Tensor], Tensor], shape: tuple[int, ...], dtype: torch.dtype) -> Stored:
        """function(values), which is of this shape and type."""
        return Stored(shape, dtype, lambda: function(self.read()))


Weights = Mapping[str, Union[Tensor, Stored]]


def in_memory(value: Union[Tensor, Stored]) -> Tensor:
    """The tensor, read if it is stored."""
    return value.read() if isinstance(value, Stored) else value


def _itemsize(dtype: torch.dtype) -> int:
    return torch.empty(0, dtype=dtype).element_size()


def serialise(tensors: Weights, metadata: Mapping[str, str]) -> Iterator[Any]:
    """The file in pieces: the header with its length, then the values of each tensor.

    The `save` of the safetensors library copies everything twice, and a checkpoint is several times as large as the
    model. This copies only tensors of other devices and tensors that are not contiguous, one at a time.

    Stored tensors are read when they are written.

    Raises:
      ValueError: for a sparse tensor, or one of a type that the format does not have.
    """
    for name, value in tensors.items():
        layout = value.layout if isinstance(value, Tensor) else torch.strided
        if layout != torch.strided or value.dtype not in _CODES:
            raise ValueError(f"{name} is a {layout} tensor of {value.dtype}: {', '.join(TYPES)} can be written")
    order = sorted(tensors, key=lambda name: (-_itemsize(tensors[name].dtype), name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in order:
        value = tensors[name]
        start, end = end, end + math.prod(value.shape) * _itemsize(value.dtype)
        header[name] = {"dtype": _CODES[value.dtype], "shape": list(value.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _MAX_HEADER:
        raise ValueError(f"names and facts take {len(text)} bytes: the format has room for {_MAX_HEADER}")
    yield len(text).to_bytes(8, "little") + text
    for name in order:
        value = in_memory(tensors[name]).detach().cpu().contiguous()
        if value.numel():  # as_strided, since a single value can have any stride
            yield memoryview(value.as_strided((value.numel(),), (1,)).view(torch.uint8).numpy())


def read_header(stream: BinaryIO) -> dict[str, Any]:
    """The header of a file that the safetensors library has checked: type, shape and position by name."""
    length = int.from_bytes(stream.read(8), "little")
    header: dict[str, Any] = json.loads(stream.read(min(length, _MAX_HEADER)))
    return header


def header_of(data: bytes) -> bytes:
    """The JSON of the header; empty where `data` is too short or has no such header."""
    end = 8 + int.from_bytes(data[:8], "little")
    return bytes(data[8:end]) if data[8:9] == b"{" and end <= len(data) else b""


def deserialise(data: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, on the CPU, and the metadata.

    Raises:
      ValueError: where the safetensors library cannot read the data, or a tensor is of a type that is not in TYPES.
    """
    try:
        entries = deserialize(data)
        metadata = json.loads(header_of(data)).get("__metadata__") or {}
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(f"not a safetensors file: {' '.join(str(error).split())}") from None
    tensors = {}
    for name, entry in entries:
        code, shape, values = entry["dtype"], entry["shape"], entry["data"]
        if code not in TYPES:
            raise ValueError(f"{name} is of type {code}; {', '.join(TYPES)} are read")
        stored = torch.uint8 if code == "BOOL" else TYPES[code]  # a bool must not have bytes other than 0 and 1
        flat = torch.frombuffer(values, dtype=stored) if len(values) else torch.empty(0, dtype=stored)
        try:
            tensors[name] = (flat != 0 if code == "BOOL" else flat).reshape(shape)
        except (RuntimeError, OverflowError, TypeError):  # an empty tensor, since every shape with a zero has no values
            raise ValueError(f"{name} has the impossible shape {shape}") from None
    return tensors, metadata
