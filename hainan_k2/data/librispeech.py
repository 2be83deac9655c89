"""LibriSpeech's folders: SPLIT/SPEAKER/CHAPTER/*.flac with transcripts, and word times where they are published."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Union

from lhotse.recipes.librispeech import parse_alignments
from lhotse.supervision import AlignmentItem

from hainan_k2.data.utterances import Audio, Corpus, Problem, Utterance


def read_librispeech(split_dir: Path) -> Corpus:
    """The utterances of a split of LibriSpeech, and the problems of those that are left out.

    Files SPLIT/SPEAKER/CHAPTER/*.flac are matched with the lines `ID TEXT` of SPEAKER-CHAPTER.trans.txt beside them,
    and with the word times of SPEAKER-CHAPTER.alignment.txt (as published for LibriSpeech) where there is one.

    Raises ValueError where there is no such folder or an alignment cannot be read.
    """
    if not split_dir.is_dir():
        there = ", ".join(sorted(p.name for p in split_dir.parent.glob("*/"))) or "nothing"
        raise ValueError(f"{split_dir}: no such folder; {split_dir.parent} holds {there}")
    utterances, problems, seen = [], [], set()
    for transcript in sorted(split_dir.rglob("*.trans.txt")):
        alignments = _read_alignments(transcript)
        for name, entry in _read_transcript(transcript):
            audio = transcript.with_name(f"{name}.flac")
            seen.add(audio)
            if isinstance(entry, Problem):
                problems.append(entry)
            elif not audio.is_file():
                problems.append(Problem("missing audio", entry.source, f"there is no {audio.name} beside it"))
            else:
                utterances.append(replace(entry, alignment=alignments.get(name, ())))
    for audio in sorted(split_dir.rglob("*.flac")):
        if audio not in seen:
            expected = audio.with_name(f"{audio.stem.rpartition('-')[0]}.trans.txt")
            state = "has no line for it" if expected.is_file() else "is not there"
            problems.append(Problem("missing transcript", str(audio), f"{expected.name} {state}"))
    return utterances, problems


def _read_transcript(path: Path) -> Iterator[tuple[str, Union[Utterance, Problem]]]:
    """The id (empty where there is none) of every line, with its utterance or its problem."""
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        where = f"{path}:{number}"
        name, text = (*line.decode("utf-8", "replace").split(maxsplit=1), "", "")[:2]
        if "/" in name or len(name.encode()) > 200:
            yield "", Problem("unreadable transcript", where, f"{name[:40]!r} cannot be the id of a file")
        elif "\ufffd" in name + text:
            yield name, Problem("unreadable transcript", where, f"the text of {name} is not UTF-8")
        elif not name:
            yield name, Problem("blank line", where, "neither an id nor a text")
        elif not text:
            yield name, Problem("empty transcript", where, f"{name} has no text")
        else:
            audio = Audio(name, path.with_name(f"{name}.flac"))
            yield name, Utterance(name, audio, text.strip(), name.partition("-")[0], where, language="English")


def _read_alignments(transcript: Path) -> dict[str, tuple[AlignmentItem, ...]]:
    path = transcript.with_name(transcript.name.replace(".trans.txt", ".alignment.txt"))
    if not path.is_file():
        return {}
    try:
        return {name: tuple(items) for name, items in parse_alignments(path).items()}
    except ValueError as error:
        raise ValueError(f"{path}: lines are not all of the form ID WORDS END_TIMES ({error})") from None
