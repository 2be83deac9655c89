"""Lists of audio files with texts: NeMo's manifests, tables, and folders with a .txt beside each file."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Optional

from hainan_k2.data.utterances import Audio, Corpus, Problem, Utterance, name_of, part_name, seconds_of
from hainan_k2.files.text_tables import read_rows, read_text
from hainan_k2.frontend.audio import is_audio_name

logger = logging.getLogger(__name__)


def read_nemo(path: Path) -> Corpus:
    """The utterances of a NeMo manifest: JSON lines with audio_filepath, text and, optionally, offset, duration (both
    in seconds), speaker, id. Relative paths count from the folder of the manifest.

    Raises ValueError with file and line for a line of another form.
    """
    utterances = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            entry: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where}: not JSON: {error}") from None
        if not isinstance(entry, dict) or not all(isinstance(entry.get(k), str) for k in ("audio_filepath", "text")):
            raise ValueError(f"{where}: not an object with the strings audio_filepath and text")
        start = seconds_of(entry.get("offset") or 0, "offset", where)
        end: Optional[float] = None
        if entry.get("duration") is not None:
            end = start + seconds_of(entry["duration"], "duration", where)
        given = entry.get("id") or ""
        if not isinstance(given, str):
            raise ValueError(f"{where}: id is {str(given)[:40]!r}, not a string")
        audio = _audio(path, entry["audio_filepath"], where)
        name = given or (part_name(audio.id, start, end) if start else audio.id)
        speaker = "" if entry.get("speaker") is None else str(entry["speaker"])  # 0 is a speaker
        utterances.append(Utterance(name, audio, entry["text"], speaker, where, start, end))
    return utterances, []


def read_table(path: Path) -> Corpus:
    """The utterances of a .csv or .tsv whose first line names the columns path, text and, optionally, id, speaker,
    start, end (both in seconds). Others are not read. Relative paths count from the folder of the table.

    Raises ValueError with file and line for rows of another form.
    """
    utterances = []
    for row, where in read_rows(path):
        if not row["path"]:
            raise ValueError(f"{where}: the path is empty")
        start = seconds_of(row.get("start") or 0, "start", where)
        end = seconds_of(row["end"], "end", where) if row.get("end") else None
        audio = _audio(path, row["path"], where)
        name = row.get("id") or part_name(audio.id, start, end)
        utterances.append(Utterance(name, audio, row["text"], row.get("speaker", ""), where, start, end))
    return utterances, []


def _audio(listing: Path, entry: str, where: str) -> Audio:
    """The recording that a line names."""
    if "\0" in entry:
        raise ValueError(f"{where}: {entry[:40]!r} cannot be a path")
    path = listing.parent / entry
    return Audio(name_of(path, listing.absolute().parent.parent), path)


def read_folder(folder: Path) -> Corpus:
    """The audio files of a folder and its subfolders, with the text of talk.wav in talk.txt beside it.

    Raises ValueError for a text that is not UTF-8.
    """
    utterances: list[Utterance] = []
    problems: list[Problem] = []
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    texts = {path for path in files if path.suffix.lower() == ".txt"}
    used = set()
    for path in files:
        if not is_audio_name(path.name):
            continue
        beside = path.with_suffix(".txt")
        if beside not in texts:
            problems.append(Problem("missing transcript", str(path), f"there is no {beside.name} beside it"))
            continue
        used.add(beside)
        audio = Audio(name_of(path, folder.absolute().parent), path)
        utterances.append(Utterance(audio.id, audio, " ".join(read_text(beside).split()), source=str(beside)))
    if len(used) < len(texts):
        logger.info("%s: %d .txt files have no audio file of their name", folder, len(texts) - len(used))
    return utterances, problems
