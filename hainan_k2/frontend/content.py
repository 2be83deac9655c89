"""AudioContent: an audio file that is open already, such as an upload, and has no path of its own."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Union


@dataclass(frozen=True)
class AudioContent:
    """The bytes of an audio file, in memory or in a temporary file without a name.

    Args:
      name: stands for it in messages.
      file: can seek; it is read from its beginning, and stays open.
    """

    name: str
    file: BinaryIO

    def __str__(self) -> str:
        return self.name


Source = Union[str, Path, AudioContent]


def open_source(source: Source) -> AbstractContextManager[BinaryIO]:
    """The bytes of a source from their beginning. A file that is opened here is closed at the end of the block."""
    if isinstance(source, AudioContent):
        source.file.seek(0)
        return nullcontext(source.file)
    return open(source, "rb")
