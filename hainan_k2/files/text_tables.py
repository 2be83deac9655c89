"""Text files as lines and tables: UTF-8, `KEY TEXT` lines as Kaldi writes them, and CSV or TSV with named columns."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path


def printable(text: str) -> str:
    """Text with file names, made printable: bytes that are not UTF-8 and unprintable characters become \\xNN."""
    return "".join(c if c.isprintable() else "".join(f"\\x{byte:02x}" for byte in os.fsencode(c)) for c in text)


def read_text(path: Path) -> str:
    """The content of a UTF-8 file, with or without a byte-order mark. Raises ValueError with the file, and the line
    that is not UTF-8."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{printable(str(path))}: {error.strerror or error}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{printable(str(path))}:{number}: not UTF-8") from None


def read_keyed_lines(path: Path) -> Iterator[tuple[str, str, str]]:
    """(KEY, TEXT, FILE:LINE) of every line `KEY TEXT`; the text may be empty, blank lines are skipped."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        key, *text = line.split(maxsplit=1)[:2] or [""]
        if key:
            yield key, "".join(text).strip(), f"{printable(str(path))}:{number}"


def read_rows(path: Path) -> Iterator[tuple[dict[str, str], str]]:
    """The values by column and FILE:LINE of every row of a .csv or .tsv.

    The first line names the columns, in any case, `path` and `text` among them. In a .tsv, quotation marks are part of
    the text. Raises ValueError with file and line for other first lines, and for rows of another width.
    """
    tabs = path.suffix.lower() == ".tsv"
    rows = csv.reader(
        io.StringIO(read_text(path), newline=""),
        delimiter="\t" if tabs else ",",
        quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
        strict=True,
    )
    columns: list[str] = []
    try:
        for row in rows:
            where = f"{printable(str(path))}:{rows.line_num}"
            if not columns:
                columns = [name.strip().lower() for name in row]
                if columns.count("path") != 1 or columns.count("text") != 1:
                    raise ValueError(f"{where}: the first line should name the columns, path and text among them")
            elif row:
                if len(row) != len(columns):
                    raise ValueError(f"{where}: {len(row)} values in {len(columns)} columns")
                yield {name: value.strip() for name, value in zip(columns, row)}, where
    except csv.Error as error:
        raise ValueError(f"{printable(str(path))}:{rows.line_num}: {error}") from None
