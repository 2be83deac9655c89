"""JSON lines: one JSON object per line, in files that grow while a program runs, or written whole."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO, Union

from hainan_k2.files.atomic import atomic_file


def read_lines(path: Union[str, Path]) -> list[dict[str, Any]]:
    """The objects of a file, none where there is no file; a last line that a kill cut off is left out."""
    path = Path(path)
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
    return [json.loads(line) for line in lines[:-1]]


def append_line(stream: TextIO, values: Mapping[str, Any]) -> None:
    """Write an object as the next line of an open file, and flush it."""
    stream.write(json.dumps(values) + "\n")
    stream.flush()


def write_lines(path: Union[str, Path], lines: Iterable[Mapping[str, Any]]) -> None:
    """Write a file whole or not at all, compressed where its name ends in .gz; the same lines give the same bytes.

    Raises OSError with the path, e.g. where the disk is full.

    >>> write_lines("/tmp/example.jsonl", [{"id": "a"}, {"id": "b"}])
    >>> read_lines("/tmp/example.jsonl")
    [{'id': 'a'}, {'id': 'b'}]
    """
    encoded = ((json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8") for line in lines)
    with atomic_file(path) as stream:
        if str(path).endswith(".gz"):
            with gzip.GzipFile("", "wb", fileobj=stream, mtime=0) as compressed:  # no name or time in the header
                compressed.writelines(encoded)
        else:
            stream.writelines(encoded)
