"""Reference texts of recordings: from tables, Kaldi's text, LibriSpeech's transcripts, or files beside the audio."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from hainan_k2.files.text_tables import read_keyed_lines, read_rows, read_text
from hainan_k2.inference.inputs import Input, utterance_id


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
            for key, text, where in (
                read_table(file) if file.suffix.lower() in (".csv", ".tsv") else read_keyed_lines(file)
            ):
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


def read_table(path: Path) -> Iterator[tuple[str, str, str]]:
    """(path, text, FILE:LINE) of every row of a .csv or .tsv."""
    for row, where in read_rows(path):
        yield os.path.normpath(row["path"]), row["text"], where
