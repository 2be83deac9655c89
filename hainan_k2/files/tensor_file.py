"""The tensors of a safetensors file, read one by one, so that memory does not hold the file beside the tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from hainan_k2.files.tensors import TYPES, Stored, read_header


def stored_tensors(path: Path) -> dict[str, Stored]:
    """The tensors of a safetensors file.

    Raises:
      ValueError: where the safetensors library cannot read the file, or a tensor is of a type that is not in TYPES;
        from `read` too, where the file has changed since.
    """
    try:
        with safe_open(path, "pt") as file:  # checks the header
            names = list(file.keys())
        with open(path, "rb") as stream:
            header = read_header(stream)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not a safetensors file: {' '.join(str(error).split())}") from None
    return {name: _stored(path, name, header[name]) for name in names}


def _stored(path: Path, name: str, entry: dict[str, Any]) -> Stored:
    if entry["dtype"] not in TYPES or entry["dtype"] == "BOOL":
        raise ValueError(f"{path}: {name[:100]} is of type {entry['dtype']}; {', '.join(TYPES)} are read")
    shape, dtype = tuple(entry["shape"]), TYPES[entry["dtype"]]

    def read() -> Tensor:
        try:
            with safe_open(path, "pt") as file:  # opened for each tensor: the mapped file would count as memory
                value: Tensor = file.get_tensor(name).clone()
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path}: {name[:100]} cannot be read: {' '.join(str(error).split())}") from None
        if tuple(value.shape) != shape or value.dtype != dtype:
            raise ValueError(f"{path}: {name[:100]} has changed while it was read")
        return value

    return Stored(shape, dtype, read)
