"""PyTorch checkpoints of other programs (OpenAI's Whisper, NeMo), read without executing anything.

`torch.save` writes an uncompressed zip archive: NAME/data.pkl, a pickle program that rebuilds the objects, and
NAME/data/0, NAME/data/1 ..., the values of each storage. hainan_k2.files.pickle_machine interprets that program.
`torch.load` is not a safe alternative: even with weights_only=True, torch 1.13 runs TorchScript archives.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO, Union

from hainan_k2.files.pickle_machine import PickleMachine

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
    where = where or str(source)
    try:
        if isinstance(source, (str, Path)):
            with open(source, "rb") as stream:
                return _read(stream)
        return _read(source)
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


def _read(stream: BinaryIO) -> Any:
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
        return PickleMachine(archive, records, _BUDGET * size).run()
