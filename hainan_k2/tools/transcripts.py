"""Where transcribe.py puts its results: standard output, or files that grow and can be gone on with."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from hainan_k2.recognizer import Result
from hainan_k2.result import WRITERS
from hainan_k2.tools.jsonl import read_lines

SUBTITLES = ("srt", "vtt")  # of one recording each; the other kinds are lines, of all recordings in one file
DONE = "done.jsonl"


class Printed:
    """Results on standard output: a line with the name and the text, then one with start, end and confidence of every
    word."""

    def has(self, name: str) -> bool:
        return False

    def write(self, result: Result, name: str) -> str:
        """Prints; no error ("") is possible."""
        lines = [f"{result.name}: {result.hypothesis.text}"]
        lines += [f"{w.start:9.2f} {w.end:8.2f} {w.confidence:6.2f}  {w.text}" for w in result.hypothesis.words]
        tqdm.write("\n".join(lines), file=sys.stdout)  # which steps round a progress bar
        sys.stdout.flush()
        return ""

    def __enter__(self) -> Printed:
        return self

    def __exit__(self, *error) -> None:
        pass


class Transcripts:
    """Results in a folder: transcripts.txt, .jsonl, .ctm, one file for all audio; NAME.srt, NAME.vtt for each.

    done.jsonl tells what is done: the settings, then for every result its name and the sizes of the growing files after
    it. To resume, these are cut to the last sizes stated, so that what a killed run wrote in part is not there twice.
    An utterance id is the path with underscores for spaces, since fields are separated by spaces. Used as a context.
    """

    def __init__(self, folder: str, kinds: Sequence[str], settings: dict[str, Any], resume: bool):
        self.folder, self.kinds = Path(folder), tuple(kinds)
        self.folder.mkdir(parents=True, exist_ok=True)
        header = {"write": list(self.kinds), **settings}
        lines = read_lines(self.folder / DONE) if resume else []
        if lines and lines[0] != header:
            other = [key for key in header if lines[0].get(key) != header[key]]
            raise ValueError(f"--resume: {self.folder} was written with another {', '.join(other)}: use the same "
                             "options or another --out-dir")
        self.done = {line["name"] for line in lines[1:]}
        self.taken = {line["file"]: line["name"] for line in lines[1:]}
        sizes = lines[-1].get("sizes", {}) if lines else {}
        self.files: dict[str, TextIO] = {}
        for kind in self.kinds:
            if kind not in SUBTITLES:
                self.files[kind] = self._cut(f"transcripts.{kind}", sizes.get(kind, 0))
        self.ledger = self._cut(DONE, sum(len(json.dumps(line).encode()) + 1 for line in lines))
        if not lines:
            self._record(header)

    def _cut(self, name: str, size: int) -> TextIO:
        """The file, to be written on from `size` bytes; ValueError where it is shorter."""
        path = self.folder / name
        with open(path, "ab") as file:
            if file.tell() < size:
                raise ValueError(f"--resume: {path} is shorter than {DONE} says: begin anew, without --resume")
            file.truncate(size)
        return open(path, "a", encoding="utf-8", errors="surrogateescape")  # as the names of files may be

    def has(self, name: str) -> bool:
        """Whether an earlier run did it."""
        return name in self.done

    def write(self, result: Result, name: str) -> str:
        """Write what was found in an input, `name` being its place in the folder; returns what prevents it, or ""."""
        place = str(Path(name).with_suffix(""))
        owner = self.taken.get(place)
        if owner is not None and any(kind in SUBTITLES for kind in self.kinds):
            return f"{result.name}: its subtitles would have the same name as those of {owner}"
        self.taken[place] = result.name
        results = [("_".join(result.name.split()), result.hypothesis)]
        sizes = {}
        for kind in self.kinds:
            text = "".join(f"{line}\n" for line in WRITERS[kind](results))
            if kind in SUBTITLES:
                path = self.folder / f"{place}.{kind}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            else:
                self.files[kind].write(text)
                self.files[kind].flush()
                sizes[kind] = os.fstat(self.files[kind].fileno()).st_size
        self._record({"name": result.name, "file": place, "sizes": sizes})
        return ""

    def _record(self, line: dict[str, Any]) -> None:
        self.ledger.write(json.dumps(line) + "\n")
        self.ledger.flush()

    def __enter__(self) -> Transcripts:
        return self

    def __exit__(self, *error) -> None:
        for file in (*self.files.values(), self.ledger):
            file.close()
