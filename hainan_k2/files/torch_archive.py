"""PyTorch checkpoints of other programs (OpenAI's Whisper, NeMo), read without executing anything.

`torch.save` writes an uncompressed zip archive: NAME/data.pkl, a pickle program that rebuilds the objects, and
NAME/data/0, NAME/data/1 ..., the values of each storage. hainan_k2.files.pickle_machine interprets that program.
`torch.load` is not a safe alternative: even with weights_only=True, torch 1.13 runs TorchScript archives.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Union

from torch import Tensor

from hainan_k2.files.pickle_machine import PickleMachine
from hainan_k2.files.tensors import Stored

_MAX_PROGRAM = 1 << 24  # bytes of data.pkl, since each can create an object
_BUDGET = 3  # bytes per byte of the file: one for the storages, two for tensors, since weights can be tied


def read_torch_archive(source: Union[str, Path, BinaryIO], where: str = "") -> Any:
    """The objects of a `torch.save` file: dicts, lists, tuples, numbers, texts, and tensors on the CPU.

    Tensors that shared memory share it again; parameters become tensors, an OrderedDict a dict. The memory needed is
    proportional to the size of the file.

    Args:
      source: a path, or a seekable stream.
      where: the name of the file in error messages; the path by default.
    Raises:
      ValueError: in one line that names the file, where it is missing, damaged, compressed, in the format before torch
        1.6, a TorchScript program, or contains any other object.
    """
    with _errors_of(where or str(source)):
        if isinstance(source, (str, Path)):
            with open(source, "rb") as stream, _archive_in(stream) as machine:
                return machine.run()
        with _archive_in(source) as machine:
            return machine.run()


@contextmanager
def open_torch_archive(stream: BinaryIO, where: str) -> Iterator[Any]:
    """A context with the objects of `read_torch_archive`, but with Stored tensors, one of which is in memory at a time.

    They can be read within the context. Raises ValueError as `read_torch_archive` does; so do their `read`s.
    """
    with ExitStack() as stack:
        with _errors_of(where):
            machine = stack.enter_context(_archive_in(stream, lazy=True))
            contents = _with_errors(machine.run(), where)
        yield contents


def _with_errors(value: Any, where: str) -> Any:
    """The same objects, with Stored tensors whose `read` raises only ValueError, which names the file."""
    if isinstance(value, dict):
        return {key: _with_errors(item, where) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_errors(item, where) for item in value]
    if not isinstance(value, Stored):
        return value
    stored = value

    def read() -> Tensor:
        with _errors_of(where):
            return stored.read()

    return Stored(value.shape, value.dtype, read)


@contextmanager
def _errors_of(where: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ValueError(f"{where}: {error.strerror or error}") from None
    except (
        ValueError,
        TypeError,
        LookupError,
        ArithmeticError,
        RuntimeError,
        AttributeError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{where} is not a readable PyTorch checkpoint: {reason}") from None


@contextmanager
def _archive_in(stream: BinaryIO, lazy: bool = False) -> Iterator[PickleMachine]:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    if stream.read(4) != b"PK\x03\x04":
        raise ValueError("it is not a zip archive; files of torch before 1.6 must be saved again by a newer torch")
    with zipfile.ZipFile(stream) as archive:
        entries = archive.infolist()
        records = {entry.filename.partition("/")[2]: entry for entry in entries}
        if "constants.pkl" in records or any(name.startswith("code/") for name in records):
            raise ValueError("it is a TorchScript archive, a program, and no program is run")
        for entry in entries:
            stored = entry.compress_type == zipfile.ZIP_STORED and entry.file_size == entry.compress_size
            if not stored or entry.flag_bits & 1:
                raise ValueError("it is compressed or encrypted, as torch.save never writes it")
        if sum(entry.file_size for entry in entries) > size or len(records) < len(entries):
            raise ValueError("its directory does not fit its size")
        if "data.pkl" not in records or records["data.pkl"].file_size > _MAX_PROGRAM:
            raise ValueError(f"it has no data.pkl of at most {_MAX_PROGRAM} bytes, as torch.save writes it")
        if "byteorder" in records and archive.read(records["byteorder"]) != b"little":
            raise ValueError("its numbers are not little-endian")
        yield PickleMachine(archive, records, _BUDGET * size, lazy)
