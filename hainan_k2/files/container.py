"""Containers: the file format of checkpoints, lattices, decoding graphs and grammars.

A container is a safetensors file with tensors and these metadata:

    format    "hainan_k2 1"
    kind      what the container holds, e.g. "checkpoint"
    sha256    of the whole file, computed with zeros in place of these 64 digits
    facts     a JSON object of everything that is not a tensor

Every program that reads safetensors can read the tensors, and every changed byte is detected.

>>> import torch
>>> kind = Kind("example", "this docstring")
>>> write_container("/tmp/example.safetensors", kind, {"x": torch.ones(2)}, {"n": 3})
>>> read_container("/tmp/example.safetensors", kind)
({'x': tensor([1., 1.])}, {'n': 3})
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Union

from torch import Tensor

from hainan_k2.files.atomic import atomic_file
from hainan_k2.files.tensors import deserialise, header_of, serialise

FORMAT = "hainan_k2 1"
SUFFIX = ".safetensors"
_ZEROS = b"0" * 64
_MARK = b'"sha256":"'  # cannot occur in a name or text of the header, where quotes are escaped
_ZIP_MAGIC = b"PK\x03\x04"


class Kind(NamedTuple):
    """A kind of container, and the command or function that makes such files (`maker`, for error messages)."""

    name: str
    maker: str


def is_container(data: bytes) -> bool:
    """Whether `read_container` is the reader for a file with these first bytes.

    True also for zip archives of torch, which `read_container` refuses with an explanation.
    """
    return data[8:10] == b'{"' or data.startswith(_ZIP_MAGIC)


def write_container(
    path: Union[str, Path], kind: Kind, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> None:
    """Write tensors, of any device, and facts, completely or not at all.

    Raises:
      TypeError, ValueError: for facts that JSON cannot represent, and for tensors that safetensors cannot.
      OSError: with the path, e.g. where the disk is full.
    """
    metadata = {"format": FORMAT, "kind": kind.name, "sha256": _ZEROS.decode(), "facts": json.dumps(facts)}
    pieces = serialise(tensors, metadata)
    header = next(pieces)  # raises for tensors that cannot be written before a file is made
    digest = hashlib.sha256(header)
    with atomic_file(path) as stream:
        stream.write(header)
        for piece in pieces:
            digest.update(piece)
            stream.write(piece)
        stream.seek(header.index(_MARK) + len(_MARK))
        stream.write(digest.hexdigest().encode())


def read_container(path: Union[str, Path], kind: Kind) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, on the CPU, and the facts.

    Raises:
      ValueError: in one line, with the file and what to do, where it is missing, damaged, of another kind, of an older
        version, or of another program.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    if data.startswith(_ZIP_MAGIC):
        raise ValueError(
            f"{path} cannot be read as a {kind.name}: it is a zip archive, of an older version of "
            f"hainan_k2, of torch or of another program; make it again with {kind.maker}"
        )
    header = header_of(data)
    if not header:
        raise ValueError(
            f"{path} cannot be read as a {kind.name}: it is damaged, or of another program than "
            f"{kind.maker}, which writes such files"
        )
    start = header.find(_MARK) + len(_MARK) + 8
    digest = hashlib.sha256(memoryview(data)[:start])
    digest.update(_ZEROS)
    digest.update(memoryview(data)[start + 64 :])
    sound = digest.hexdigest().encode() == data[start : start + 64]
    try:
        tensors, metadata = deserialise(data)
        name, version = metadata.get("kind"), metadata.get("format")
        facts = json.loads(metadata.get("facts", "{}"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as a {kind.name}: {error if sound else _DAMAGED}") from None
    if version is None:
        raise ValueError(f"{path} holds tensors of another program, not a {kind.name} of {kind.maker}")
    if not sound:
        raise ValueError(f"{path} cannot be read as a {kind.name}: {_DAMAGED}")
    if version != FORMAT:
        raise ValueError(
            f"{path} is of format {version[:40]!r}; this version of hainan_k2 reads {FORMAT!r}: make it "
            f"again with {kind.maker}"
        )
    if name != kind.name:
        raise ValueError(f"{path} holds a {str(name)[:60]}, not a {kind.name}")
    if not isinstance(facts, dict):
        raise ValueError(f"{path} cannot be read as a {kind.name}: its facts are not a JSON object")
    return tensors, facts


_DAMAGED = "it is damaged, its checksum does not fit: copy it again or make it again"
