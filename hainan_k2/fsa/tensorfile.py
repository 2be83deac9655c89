"""Tensors and plain facts in a .pt file that loads without executing anything, whoever wrote it."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any, Union

import torch
from torch import Tensor

ZIP_MAGIC = b"PK\x03\x04"


def write_tensors(path: Union[str, Path], kind: str, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write CPU copies of `tensors`, and `facts` as JSON; `kind` says what they are."""
    # torch 1.13's safe loader knows no numbers: facts travel as text
    state = {"kind": kind, "facts": json.dumps(facts), **{f"tensor {k}": v.detach().cpu() for k, v in tensors.items()}}
    torch.save(state, str(path))


def read_tensors(path: Union[str, Path], kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and facts of write_tensors, on the CPU.

    Raises:
      ValueError: if the file is damaged, not of this kind, or holds a tensor of more values than the file has room for.
    """
    try:
        size = Path(path).stat().st_size
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch does not look at the checksums
            packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist())
        if damaged or packed:
            raise ValueError("its checksums do not fit" if damaged else "it is compressed, as torch never writes it")
        state = torch.load(str(path), map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, NotImplementedError, pickle.UnpicklingError, zipfile.BadZipFile,
            ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} cannot be read as a {kind}: {reason}") from None
    found = state.get("kind") if isinstance(state, dict) else None
    if found != kind:
        what = f"a {found}" if isinstance(found, str) else "something else"
        raise ValueError(f"{path} holds {what[:60]}, not a {kind}")
    tensors = {name[7:]: value for name, value in state.items() if str(name).startswith("tensor ")}
    for name, value in tensors.items():
        dense = isinstance(value, Tensor) and value.layout == torch.strided
        if not dense or value.numel() * value.element_size() > size:
            raise ValueError(f"{path}: {name[:40]} is no tensor that {size} bytes can hold")
    try:
        facts = dict(json.loads(state["facts"]))
    except (LookupError, TypeError, ValueError, RecursionError):
        raise ValueError(f"{path}: its facts are no JSON object") from None
    return tensors, facts
