"""Atomic writes: a file is complete or absent, whenever the process is killed or the disk is full."""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO, Union

PARTIAL = ".partial"  # suffix of the hidden files that are being written


@contextmanager
def atomic_file(path: Union[str, Path]) -> Iterator[BinaryIO]:
    """A binary stream whose contents become `path` when the block ends without an exception.

    The contents are written to a hidden file in the same folder, flushed to the disk and renamed; after an exception
    the hidden file is removed, and `path` is unchanged. The target of a symbolic link is replaced, not the link. A path
    that is not a regular file (a terminal, /dev/null, a FIFO) is opened and written directly.

    Raises:
      OSError: with the name of `path`, e.g. where the disk is full.

    >>> with atomic_file("/tmp/example") as stream:
    ...     _ = stream.write(b"complete")
    """
    target = os.path.realpath(path)
    regular = os.path.isfile(target) or not os.path.exists(target)
    written = os.path.join(os.path.dirname(target), f".{secrets.token_hex(8)}{PARTIAL}") if regular else target
    try:
        with open(written, "xb" if regular else "wb") as stream:
            yield stream
            stream.flush()
            if regular:
                os.fsync(stream.fileno())
        if regular:
            os.replace(written, target)
    except BaseException as error:
        if regular and os.path.exists(written):
            os.unlink(written)
        if isinstance(error, OSError) and error.filename in (None, written):  # not an error of another file
            raise OSError(error.errno, error.strerror or str(error), str(path)) from None
        raise


@contextmanager
def atomic_text(path: Union[str, Path]) -> Iterator[TextIO]:
    """`atomic_file` as a stream of UTF-8 text, without translation of line ends."""
    with atomic_file(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        try:
            yield text
        finally:
            text.detach()  # flushes and leaves the stream open, for atomic_file to close


def write_atomic(path: Union[str, Path], content: Union[bytes, str]) -> None:
    """Write bytes, or text as UTF-8, completely or not at all. Raises OSError as `atomic_file` does."""
    with atomic_file(path) as stream:
        stream.write(content.encode("utf-8") if isinstance(content, str) else content)


def remove_partial_files(folder: Union[str, Path]) -> int:
    """Remove the files that killed processes left unfinished in `folder`; returns their number.

    Only the process that is alone in writing there may call this.
    """
    stale = [path for path in Path(folder).glob(f".*{PARTIAL}") if path.is_file()]
    for path in stale:
        path.unlink()
    return len(stale)
