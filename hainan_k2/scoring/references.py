"""Reference texts of recordings: from tables, Kaldi's text, LibriSpeech's transcripts, or files beside the audio."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from hainan_k2.inference.inputs import Input, shown, utterance_id


class References:
    """The reference texts of recordings, by path or id.

    Args:
      source: one of
        - a table, .csv or .tsv, whose first line names the columns, with `path` and `text` among them;
        - a file of lines `ID TEXT`: Kaldi's text, LibriSpeech's SPEAKER-CHAPTER.trans.txt;
        - a folder: every *.trans.txt in it and in its subfolders;
        - a file ending, such as .txt: the text of talk.wav is in talk.txt beside it.

    A path or ID in such a file matches a recording by, in this order: the recording's path, its utterance id, its
    absolute path, its path relative to the file's folder, its path relative to the input folder given to transcribe.py,
    its file name; the last two also without the file ending. Each text is used for one recording only.

    Raises:
      ValueError: with file and line, where `source` cannot be read or has no texts.
    """

    def __init__(self, source: str):
        self.source, self.ending, self.folder = source, "", "."
        self.texts: dict[str, str] = {}
        self.owners: dict[str, str] = {}  # by key of `texts`: path of the recording that uses the text
        self.missing: list[str] = []  # one line for each recording without a text, with the reason
        if re.fullmatch(r"\.\w[\w.-]*", source) and not os.path.exists(source):
            self.ending = source
            return
        path = Path(source)
        files = sorted(path.rglob("*.trans.txt")) if path.is_dir() else [path]
        if not files:
            raise ValueError(f"--reference {source}: no *.trans.txt in this folder")
        self.folder = str(path if path.is_dir() else path.parent)
        for file in files:
            for key, text, where in read_table(file) if file.suffix.lower() in (".csv", ".tsv") else read_lines(file):
                if key in self.texts:
                    raise ValueError(f"{where}: a second text of {key}")
                self.texts[key] = text
        if not self.texts:
            raise ValueError(f"--reference {source}: no texts in it")

    def of(self, source: Input) -> Optional[str]:
        """The text of a recording. Without one it returns None and adds a line to `missing`."""
        if self.ending:
            path = os.path.splitext(source.path)[0] + self.ending
            try:
                return " ".join(read_text(Path(path)).split())
            except ValueError as error:
                self.missing.append(f"{source.path}: {error}")
            return None
        key = next((key for key in self._keys(source) if key in self.texts), None)
        if key is None:
            self.missing.append(f"{source.path}: {self.source} has no text of it")
        elif self.owners.setdefault(key, source.path) != source.path:
            self.missing.append(f"{source.path}: {key} in {self.source} is the text of {self.owners[key]}")
        else:
            return self.texts[key]
        return None

    def _keys(self, source: Input) -> Iterator[str]:
        yield os.path.normpath(source.path)
        yield utterance_id(source.path)
        yield os.path.abspath(source.path)
        yield os.path.relpath(source.path, self.folder)
        for path in (source.place, os.path.basename(source.path)):
            yield path
            yield os.path.splitext(path)[0]

    def unused(self) -> int:
        """The number of texts that no recording used."""
        return len(self.texts) - len(self.owners)


def read_text(path: Path) -> str:
    """The content of a UTF-8 file, with or without a byte-order mark. Raises ValueError with the file, and the line
    that is not UTF-8."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{shown(str(path))}: {error.strerror or error}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{shown(str(path))}:{number}: not UTF-8") from None


def read_lines(path: Path) -> Iterator[tuple[str, str, str]]:
    """(ID, text, FILE:LINE) of every line `ID TEXT`; the text may be empty."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        key, *text = line.split(maxsplit=1)[:2] or [""]
        if key:
            yield key, "".join(text).strip(), f"{path}:{number}"


def read_table(path: Path) -> Iterator[tuple[str, str, str]]:
    """(path, text, FILE:LINE) of every row of a .csv or .tsv; in a .tsv, quotation marks are part of the text."""
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
            where = f"{path}:{rows.line_num}"
            if not columns:
                columns = [name.strip().lower() for name in row]
                if columns.count("path") != 1 or columns.count("text") != 1:
                    raise ValueError(f"{where}: the first line should name the columns, path and text among them")
            elif row:
                if len(row) != len(columns):
                    raise ValueError(f"{where}: {len(row)} values in {len(columns)} columns")
                yield os.path.normpath(row[columns.index("path")].strip()), row[columns.index("text")].strip(), where
    except csv.Error as error:
        raise ValueError(f"{path}:{rows.line_num}: {error}") from None
