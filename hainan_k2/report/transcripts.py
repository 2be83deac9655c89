"""The output of transcribe.py: standard output, or files in a folder that a later run can resume."""

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
from hainan_k2.files.text_tables import printable
from hainan_k2.inference.decoded import Decoded
from hainan_k2.inference.inputs import Input
from hainan_k2.result import Hypothesis
from hainan_k2.writers import PER_RECORDING, WRITERS

logger = logging.getLogger(__name__)

DONE = "done.jsonl"


class Printed:
    """Prints results: a line with the name and the text, then a line with start, end and confidence for every word.

    With several methods, each has its own lines, with its label in brackets after the name.
    """

    def __init__(self, labels: Sequence[str]):
        self.several = len(labels) > 1
        self.failures: list[str] = []

    def has(self, path: str) -> bool:
        """Whether the recording is done already: never, as nothing is kept."""
        return False

    def write(self, source: Input, decoded: Decoded) -> str:
        """Print the result. Returns "", because this cannot fail."""
        lines = []
        for label, hypothesis in decoded.hypotheses.items():
            lines.append(f"{printable(source.path)}{f' ({label})' if self.several else ''}: {hypothesis.text}")
            lines += [f"{w.start:9.2f} {w.end:8.2f} {w.confidence:6.2f}  {w.text}" for w in hypothesis.words]
        tqdm.write("\n".join(lines), file=sys.stdout)  # tqdm moves its progress bar out of the way
        sys.stdout.flush()
        return ""

    def __enter__(self) -> Printed:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class Transcripts:
    """Writes results to a folder: transcripts.txt, .jsonl, .ctm for all; NAME.srt, .vtt, .TextGrid for each recording.

    With several methods the file names contain the label: transcripts.sar.txt, NAME.sar.srt. Ids are `utterance_id`s.

    done.jsonl records the progress: first the settings, then for every recording its path, its failures if only some
    of the methods failed, and the sizes of the transcript files after it. A run that resumes truncates these files to
    the last recorded sizes, which removes what a killed run wrote only in part. The process that writes holds a lock on
    done.jsonl. Use it as a context manager.

    Args:
      kinds: formats to write, of WRITERS.
      labels: the methods.
      settings: everything that the results depend on; a run that resumes must have the same settings.
      resume: skip the recordings that are done.
      overwrite: replace earlier results.

    Raises:
      ValueError: if the folder has results and neither `resume` nor `overwrite` is set, if another process is writing
        to it, or if its files are damaged.
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
        try:
            import fcntl
        except ImportError:  # Windows
            logger.warning("%s: files cannot be locked here: make sure that no other process writes to it", self.folder)
            return
        try:
            fcntl.flock(self.ledger, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{self.folder}: another process is writing its results there") from None
        except OSError as error:  # some network file systems
            logger.warning(
                "%s cannot be locked (%s): make sure that no other process writes to it", self.folder, error.strerror
            )

    def _begin(self, header: dict[str, Any]) -> None:
        """Check earlier results against `header`, the settings, and open the files to append to."""
        lines, size = self._read_ledger()
        names = [
            f"transcripts{mark}.{kind}"
            for mark in self.marks.values()
            for kind in self.kinds
            if kind not in PER_RECORDING
        ]
        existing = [name for name in names if (self.folder / name).exists() and (self.folder / name).stat().st_size]
        if not self.overwrite and (lines[1:] and not self.resume or existing and not (self.resume and lines)):
            what = f"the results of {len(lines) - 1} recordings" if lines[1:] else existing[0]
            how = "--resume continues them, " if lines else ""
            raise ValueError(f"{self.folder} has {what}: {how}--overwrite starts again; or use another --out-dir")
        if not self.resume:
            for name in lines[-1]["sizes"] if lines[1:] else ():
                if re.fullmatch(r"transcripts[\w.=-]*", name):  # also those of other formats or methods
                    (self.folder / name).unlink(missing_ok=True)
            lines, size = [], 0
        elif lines and lines[0] != header:
            other = [key for key in header if lines[0].get(key) != header[key]]
            raise ValueError(
                f"--resume: {self.folder} was written with other values of {', '.join(other)}: use the same "
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
        """The lines of done.jsonl and their size in bytes, without an incomplete last line."""
        content = (self.folder / DONE).read_bytes()
        content = content[: content.rfind(b"\n") + 1]
        lines = []
        for number, text in enumerate(content.splitlines(), 1):
            try:
                line = json.loads(text)
                valid = isinstance(line, dict) and (number == 1 or _is_record(line))
            except (ValueError, RecursionError):
                valid = False
            if not valid:
                raise ValueError(
                    f"{self.folder / DONE}:{number}: damaged, or not written by transcribe.py: use another --out-dir"
                )
            lines.append(line)
        return lines, len(content)

    def _cut(self, name: str, size: int) -> TextIO:
        """Truncate a file to `size` bytes and open it to append; ValueError if it is shorter."""
        path = self.folder / name
        with open(path, "ab") as file:
            if file.tell() < size:
                raise ValueError(f"--resume: {path} is shorter than {DONE} records: use --overwrite to start again")
            file.truncate(size)
        return open(path, "a", encoding="utf-8")

    def has(self, path: str) -> bool:
        """Whether an earlier run has done this recording."""
        return path in self.done

    def write(self, source: Input, decoded: Decoded) -> str:
        """Write the results of one recording. Returns "", or the reason why they cannot be written, in one line.

        If some methods failed, done.jsonl records why, and a run that resumes reports it again, as `failures`.
        """
        stem = os.path.splitext(source.place)[0]
        subtitles = [
            (self.folder / f"{stem}{self.marks[label]}.{kind}", kind, hypothesis)
            for label, hypothesis in decoded.hypotheses.items()
            for kind in self.kinds
            if kind in PER_RECORDING
        ]
        owner = self.taken.get(stem)
        if subtitles and owner is not None:
            return f"{source.path}: its subtitles would have the same file name as those of {owner}"
        try:
            for path, kind, hypothesis in subtitles:
                if path.exists() and not self.overwrite and not self.resume:
                    return f"{source.path}: {path} exists: --overwrite replaces it"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(_text(kind, decoded.id, hypothesis), encoding="utf-8")
        except OSError as error:
            return f"{source.path}: its subtitles cannot be written: {error.filename or stem}: {error.strerror}"
        self.taken[stem] = source.path
        for label, hypothesis in decoded.hypotheses.items():
            for kind in self.kinds:
                if kind not in PER_RECORDING:
                    file = self.files[f"transcripts{self.marks[label]}.{kind}"]
                    file.write(_text(kind, decoded.id, hypothesis))
                    file.flush()
        sizes = {name: os.fstat(file.fileno()).st_size for name, file in self.files.items()}
        self._record({"name": source.path, "file": stem, "failed": list(decoded.failures.values()), "sizes": sizes})
        return ""

    def _record(self, line: dict[str, Any]) -> None:
        append_line(self.ledger, line)

    def __enter__(self) -> Transcripts:
        return self

    def __exit__(self, *error: object) -> None:
        for file in (*self.files.values(), self.ledger):
            file.close()


def _text(kind: str, name: str, hypothesis: Hypothesis) -> str:
    """The result of one recording in a format of WRITERS."""
    return "".join(f"{line}\n" for line in WRITERS[kind]([(name, hypothesis)]))


def _is_record(line: dict[str, Any]) -> bool:
    """Whether a line of done.jsonl has the fields of a recording."""
    types = {"name": str, "file": str, "failed": list, "sizes": dict}
    return (
        all(type(line.get(key)) is kind for key, kind in types.items())
        and all(type(failure) is str for failure in line["failed"])
        and all(type(size) is int and size >= 0 for size in line["sizes"].values())
    )
