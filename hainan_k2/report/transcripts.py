"""Where transcribe.py puts its results: standard output, or files that grow and can be gone on with."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from hainan_k2.files.jsonl import append_line
from hainan_k2.inference.decoded import Decoded
from hainan_k2.inference.inputs import Input, shown
from hainan_k2.result import WRITERS, Hypothesis

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

SUBTITLES = ("srt", "vtt")  # of one recording each; the other kinds are lines, of all recordings in one file
DONE = "done.jsonl"


class Printed:
    """Results on standard output: a line with the name and the text, then one with start, end and confidence of every
    word; with several methods, each by itself, its label in brackets behind the name."""

    def __init__(self, labels: Sequence[str]):
        self.several = len(labels) > 1
        self.failures: list[str] = []

    def has(self, path: str) -> bool:
        return False

    def write(self, source: Input, decoded: Decoded) -> str:
        """Prints; no error ("") is possible."""
        lines = []
        for label, hypothesis in decoded.hypotheses.items():
            lines.append(f"{shown(source.path)}{f' ({label})' if self.several else ''}: {hypothesis.text}")
            lines += [f"{w.start:9.2f} {w.end:8.2f} {w.confidence:6.2f}  {w.text}" for w in hypothesis.words]
        tqdm.write("\n".join(lines), file=sys.stdout)  # which steps round a progress bar
        sys.stdout.flush()
        return ""

    def __enter__(self) -> Printed:
        return self

    def __exit__(self, *error) -> None:
        pass


class Transcripts:
    """Results in a folder: transcripts.txt, .jsonl, .ctm, one file for all audio; NAME.srt, NAME.vtt for each. With
    several methods their labels stand in the names: transcripts.sar.txt, NAME.sar.srt. Ids are `utterance_id`s.

    done.jsonl tells what is done: the settings, then for every recording its path, its failures if only some of the
    methods failed, and the sizes of the growing files after it. To resume, these are cut to the last sizes stated, so
    that what a killed run wrote in part is not there twice. While a process writes, it holds a lock on done.jsonl.
    Used as a context.

    Args:
      labels: of the methods.
      settings: all that results depend on: a run that resumes must have the same.
      resume: leave out what is done. overwrite: begin anew where results are. With neither, ValueError for a folder
        with results. ValueError also where another process writes into the folder, and where its files are damaged.
    """

    def __init__(
        self,
        folder: str,
        kinds: Sequence[str],
        labels: Sequence[str],
        settings: dict[str, Any],
        resume: bool = False,
        overwrite: bool = False,
    ):
        self.folder, self.kinds, self.overwrite = Path(folder), tuple(kinds), overwrite
        self.marks = {label: "." + label.replace(" ", "-") if len(labels) > 1 else "" for label in labels}
        self.resume = resume
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ledger = open(self.folder / DONE, "a", encoding="utf-8")
        self.files: dict[str, TextIO] = {}
        try:
            self._lock()
            self._begin({"write": list(self.kinds), "methods": list(labels), **settings})
        except BaseException:
            self.__exit__()
            raise

    def _lock(self) -> None:
        if fcntl is None:
            logging.warning("%s: no locks here: see that no other process writes into it", self.folder)
            return
        try:
            fcntl.flock(self.ledger, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{self.folder}: another process is writing its results there") from None
        except OSError as error:  # some network file systems
            logging.warning(
                "%s cannot be locked (%s): see that no other process writes into it", self.folder, error.strerror
            )

    def _begin(self, header: dict[str, Any]) -> None:
        lines, size = self._read_ledger()
        names = [
            f"transcripts{mark}.{kind}" for mark in self.marks.values() for kind in self.kinds if kind not in SUBTITLES
        ]
        standing = [name for name in names if (self.folder / name).exists() and (self.folder / name).stat().st_size]
        if not self.overwrite and (lines[1:] and not self.resume or standing and not (self.resume and lines)):
            what = f"the results of {len(lines) - 1} recordings" if lines[1:] else standing[0]
            how = "--resume goes on with them, " if lines else ""
            raise ValueError(f"{self.folder} holds {what}: {how}--overwrite begins anew; or use another --out-dir")
        if not self.resume:
            for name in lines[-1]["sizes"] if lines[1:] else ():
                if re.fullmatch(r"transcripts[\w.=-]*", name):  # of other kinds or methods: they would not belong here
                    (self.folder / name).unlink(missing_ok=True)
            lines, size = [], 0
        elif lines and lines[0] != header:
            other = [key for key in header if lines[0].get(key) != header[key]]
            raise ValueError(
                f"--resume: {self.folder} was written with another {', '.join(other)}: use the same "
                "options or another --out-dir"
            )
        self.done = {line["name"] for line in lines[1:]}
        self.taken = {line["file"]: line["name"] for line in lines[1:]}
        self.failures: list[str] = [failure for line in lines[1:] for failure in line["failed"]]
        sizes = lines[-1]["sizes"] if lines[1:] else {}
        for name in names:
            self.files[name] = self._cut(name, sizes.get(name, 0))
        self.ledger.truncate(size)
        if not lines:
            self._record(header)

    def _read_ledger(self) -> tuple[list[dict[str, Any]], int]:
        """Its lines and their bytes; a last line that was cut off by a kill is left out."""
        content = (self.folder / DONE).read_bytes()
        content = content[: content.rfind(b"\n") + 1]
        lines = []
        for number, text in enumerate(content.splitlines(), 1):
            try:
                line = json.loads(text)
                sound = isinstance(line, dict) and (number == 1 or _is_record(line))
            except (ValueError, RecursionError):
                sound = False
            if not sound:
                raise ValueError(
                    f"{self.folder / DONE}:{number}: damaged, or not written by transcribe.py: use another --out-dir"
                )
            lines.append(line)
        return lines, len(content)

    def _cut(self, name: str, size: int) -> TextIO:
        """The file, to be written on from `size` bytes; ValueError where it is shorter."""
        path = self.folder / name
        with open(path, "ab") as file:
            if file.tell() < size:
                raise ValueError(f"--resume: {path} is shorter than {DONE} says: begin anew, with --overwrite")
            file.truncate(size)
        return open(path, "a", encoding="utf-8")

    def has(self, path: str) -> bool:
        """Whether an earlier run did it."""
        return path in self.done

    def write(self, source: Input, decoded: Decoded) -> str:
        """Write what the methods found in a recording; returns what prevents it, in one line, or "".

        Where only some methods found something, the failures of the others are noted, and told again by a run that
        resumes, as `failures`.
        """
        place = os.path.splitext(source.place)[0]
        subtitles = [
            (self.folder / f"{place}{self.marks[label]}.{kind}", kind, hypothesis)
            for label, hypothesis in decoded.hypotheses.items()
            for kind in self.kinds
            if kind in SUBTITLES
        ]
        owner = self.taken.get(place)
        if subtitles and owner is not None:
            return f"{source.path}: its subtitles would have the same name as those of {owner}"
        try:
            for path, kind, hypothesis in subtitles:
                if path.exists() and not self.overwrite and not self.resume:
                    return f"{source.path}: {path} is there already: --overwrite replaces it"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(_text(kind, decoded.id, hypothesis), encoding="utf-8")
        except OSError as error:
            return f"{source.path}: its subtitles cannot be written: {error.filename or place}: {error.strerror}"
        self.taken[place] = source.path
        for label, hypothesis in decoded.hypotheses.items():
            for kind in self.kinds:
                if kind not in SUBTITLES:
                    file = self.files[f"transcripts{self.marks[label]}.{kind}"]
                    file.write(_text(kind, decoded.id, hypothesis))
                    file.flush()
        sizes = {name: os.fstat(file.fileno()).st_size for name, file in self.files.items()}
        self._record({"name": source.path, "file": place, "failed": list(decoded.failures.values()), "sizes": sizes})
        return ""

    def _record(self, line: dict[str, Any]) -> None:
        append_line(self.ledger, line)

    def __enter__(self) -> Transcripts:
        return self

    def __exit__(self, *error) -> None:
        for file in (*self.files.values(), self.ledger):
            file.close()


def _text(kind: str, name: str, hypothesis: Hypothesis) -> str:
    return "".join(f"{line}\n" for line in WRITERS[kind]([(name, hypothesis)]))


def _is_record(line: dict[str, Any]) -> bool:
    types = {"name": str, "file": str, "failed": list, "sizes": dict}
    return (
        all(type(line.get(key)) is kind for key, kind in types.items())
        and all(type(failure) is str for failure in line["failed"])
        and all(type(size) is int and size >= 0 for size in line["sizes"].values())
    )
