"""Corpora in the forms that people have them: a table of readers, and which of them a path needs."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hainan_k2.data.audio_lists import read_folder, read_nemo, read_table
from hainan_k2.data.kaldi import read_kaldi
from hainan_k2.data.lhotse_cuts import read_cuts, read_shar
from hainan_k2.data.librispeech import read_librispeech
from hainan_k2.data.utterances import Corpus

# By kind: reads a path (source, allow_pipes, audio_dir) to utterances and problems.
READERS: dict[str, Callable[[Path, bool, Path], Corpus]] = {
    "kaldi": read_kaldi,
    "nemo": lambda path, allow_pipes, audio_dir: read_nemo(path),
    "table": lambda path, allow_pipes, audio_dir: read_table(path),
    "folder": lambda path, allow_pipes, audio_dir: read_folder(path),
    "cuts": read_cuts,
    "shar": read_shar,
    "librispeech": lambda path, allow_pipes, audio_dir: read_librispeech(path),
}


def kind_of_source(path: Path) -> str:
    """The kind of a corpus, of READERS: that of its files, or of the first line of a JSON file.

    Raises ValueError where there is no such path, or it is of no kind.
    """
    if path.is_dir():
        if (path / "wav.scp").exists():
            return "kaldi"
        if any(path.glob("cuts.*.jsonl*")):
            return "shar"
        return "librispeech" if next(path.rglob("*.trans.txt"), None) else "folder"
    if not path.is_file():
        raise ValueError(f"{path}: no such file or folder")
    if path.suffix.lower() in (".csv", ".tsv"):
        return "table"
    if path.name.endswith((".json", ".jsonl", ".jsonl.gz")):
        first = _first_object(path)
        if "audio_filepath" in first:
            return "nemo"
        if str(first.get("type", "")).endswith("Cut"):
            return "cuts"
    raise ValueError(
        f"{path}: none of a Kaldi directory, a NeMo manifest, lhotse cuts or Shar, a .csv or .tsv, a folder of audio "
        "with .txt files, LibriSpeech's folders"
    )


def _first_object(path: Path) -> dict[str, Any]:
    """The object in the first line of a JSON file; empty where there is none."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as stream:
            first: Any = json.loads(stream.readline().decode("utf-8-sig"))
    except (OSError, EOFError, zlib.error, ValueError, RecursionError):
        return {}
    return first if isinstance(first, dict) else {}
