"""Files that are there whole or not at all, whenever the process is killed and whenever the disk fills up."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Union

PARTIAL = ".partial"  # the suffix of hidden files that are being written


@contextmanager
def atomic_file(path: Union[str, Path]) -> Iterator[BinaryIO]:
    """A binary stream whose contents become `path` when the block ends without an exception.

    They are written to a hidden file in the same folder, flushed to the disk and renamed; after an exception that file
    is removed and `path` is what it was. A symbolic link stays, and what it points to is replaced. What is no regular
    file (a terminal, /dev/null, a FIFO) is opened and written directly.

    Raises:
      OSError: with the name of `path`, e.g. where the disk is full.
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
        if isinstance(error, OSError) and error.filename in (None, written):  # not one of another file
            raise OSError(error.errno, error.strerror or str(error), str(path)) from None
        raise


def write_atomic(path: Union[str, Path], content: Union[bytes, str]) -> None:
    """Write bytes, or text as UTF-8, whole or not at all; raises OSError as `atomic_file` does."""
    with atomic_file(path) as stream:
        stream.write(content.encode("utf-8") if isinstance(content, str) else content)


def remove_partial_files(folder: Union[str, Path]) -> int:
    """Remove what killed processes had begun to write in `folder`, and tell how many files that were. To be called by
    the only process that writes there."""
    stale = [path for path in Path(folder).glob(f".*{PARTIAL}") if path.is_file()]
    for path in stale:
        path.unlink()
    return len(stale)
