"""The files of a .nemo archive, or of a folder that one was unpacked to. Nothing is written to disk or executed.

A .nemo file is a tar archive, compressed by gzip in older versions of NeMo:

    ./model_config.yaml
    ./model_weights.ckpt          written by torch.save
    ./HASH_tokenizer.model        SentencePiece; model_config.yaml has it as nemo:HASH_tokenizer.model
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

CONFIG = "model_config.yaml"
WEIGHTS = "model_weights.ckpt"
_MAX_MEMBERS = 1000
_MAX_RATIO = 10  # of a compressed archive: weights can hardly be compressed
_MAX_FILE = 1 << 26  # bytes of a file that is read into memory


class NemoFiles(ABC):
    """The files by their names.

    Args:
      where: the archive or folder, for error messages.
    """

    def __init__(self, where: Path) -> None:
        self.where = where

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """A seekable stream of a file; ValueError where there is none."""

    def read(self, name: str) -> bytes:
        """The content of a file; ValueError where there is none, or it has more than 64 MiB."""
        with self.open(name) as stream:
            content = stream.read(_MAX_FILE + 1)
        if len(content) > _MAX_FILE:
            raise ValueError(f"{self.where}: {name} has more than {_MAX_FILE} bytes")
        return content

    def label(self, name: str) -> str:
        """The file in error messages."""
        return f"{self.where}: {name}"


class _Folder(NemoFiles):
    def open(self, name: str) -> BinaryIO:
        path = self.where / name
        if not path.is_file():
            raise ValueError(f"{self.where} holds no file {name}")
        return path.open("rb")


class _Archive(NemoFiles):
    def __init__(self, where: Path, archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo]) -> None:
        super().__init__(where)
        self.archive, self.members = archive, members

    def open(self, name: str) -> BinaryIO:
        member = self.members.get(name)
        stream = self.archive.extractfile(member) if member is not None else None
        if stream is None:
            raise ValueError(f"{self.where} holds no file {name}")
        return cast(BinaryIO, stream)


@contextmanager
def open_nemo(path: Path) -> Iterator[NemoFiles]:
    """A context in which the files of an archive or a folder can be read.

    Raises ValueError, in one line that names the archive, where it is missing, damaged, or has members that NeMo does
    not write: links, devices, names outside the archive, names twice.
    """
    if path.is_dir():
        yield _Folder(path)
        return
    with _archive_of(path) as (archive, size):
        yield _Archive(path, archive, _members(path, archive, size))


@contextmanager
def _archive_of(path: Path) -> Iterator[tuple[tarfile.TarFile, int]]:
    try:
        stream: BinaryIO = path.open("rb")
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None
    with stream:
        if stream.read(2) == b"\x1f\x8b":
            stream = _decompressed(path, stream)
        size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        try:
            archive = tarfile.open(fileobj=stream, mode="r:")
        except (tarfile.TarError, ValueError, OverflowError, EOFError, OSError) as error:
            raise ValueError(f"{path} is not a tar archive, as .nemo files are: {error}") from None
        with archive:
            yield archive, size


def _decompressed(path: Path, stream: BinaryIO) -> BinaryIO:
    """The archive in memory: the weights are not read in the order in which they are stored."""
    limit = _MAX_RATIO * path.stat().st_size + (1 << 20)
    stream.seek(0)
    try:
        content = gzip.GzipFile(fileobj=stream).read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is not a readable gzip file: {error}") from None
    if len(content) > limit:
        raise ValueError(f"{path} expands to more than {_MAX_RATIO} times its size: weights can hardly be compressed")
    return io.BytesIO(content)


def _members(path: Path, archive: tarfile.TarFile, size: int) -> dict[str, tarfile.TarInfo]:
    """The regular files at the root of the archive, by name; `size` is that of the archive, in bytes."""
    members: dict[str, tarfile.TarInfo] = {}
    try:
        for count, member in enumerate(archive):
            name = PurePosixPath(member.name)
            if name.is_absolute() or ".." in name.parts:
                raise ValueError(f"a member is named {member.name[:100]!r}, outside the archive")
            if not (member.isreg() or member.isdir()) or member.issparse():
                raise ValueError(f"{member.name[:100]!r} is not a regular file")
            if str(name) in members or count >= _MAX_MEMBERS:
                raise ValueError(f"{member.name[:100]!r} is there twice, or there are more than {_MAX_MEMBERS} members")
            if member.size < 0 or member.offset_data + member.size > size:
                raise ValueError(f"{member.name[:100]!r} is truncated")
            if member.isreg() and len(name.parts) == 1:
                members[str(name)] = member
    except (tarfile.TarError, ValueError, OverflowError, EOFError, OSError) as error:
        raise ValueError(f"{path} is not a sound .nemo archive: {' '.join(str(error).split())}") from None
    return members
