"""Kaldi's data directories: wav.scp, text and, where they are there, segments and utt2spk."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from hainan_k2.data.stored_audio import stored_path
from hainan_k2.data.utterances import Audio, Corpus, Problem, Utterance, seconds_of, unique
from hainan_k2.files.text_tables import read_keyed_lines

Segment = tuple[str, float, Optional[float], str]  # recording, start and end in seconds, FILE:LINE


def read_kaldi(folder: Path, allow_pipes: bool, audio_dir: Path) -> Corpus:
    """The utterances of a Kaldi directory, and the problems of those that are left out.

    A relative path in wav.scp counts from the working directory, as in Kaldi, or else from the folder of wav.scp.
    Nothing is run here: an entry that ends in | becomes an Audio with a command.

    Args:
      allow_pipes: take entries of wav.scp that are shell commands.
      audio_dir: the folder that their output is stored in.
    Raises:
      ValueError: with file and line, for a file that is missing or not of Kaldi's form, for a key that occurs twice,
        and for commands where `allow_pipes` is false.
    """
    entries = unique(read_keyed_lines(folder / "wav.scp"))
    recordings = {
        name: _audio(folder, name, entry, where, allow_pipes, audio_dir) for name, (entry, where) in entries.items()
    }
    texts = unique(read_keyed_lines(folder / "text"))
    speakers = _optional(folder / "utt2spk")
    segments = _segments(folder / "segments")
    utterances: list[Utterance] = []
    problems: list[Problem] = []
    for name, (text, where) in texts.items():
        recording, start, end, place = (name, 0.0, None, where) if segments is None else segments.get(name, NO_SEGMENT)
        if recording not in recordings:
            missing = f"{recording} of {name} is not in wav.scp" if recording else f"{name} is not in segments"
            problems.append(Problem("missing audio", place or where, missing))
        elif speakers is not None and not speakers.get(name, ("", ""))[0]:
            problems.append(Problem("missing speaker", where, f"{name} is not in utt2spk"))
        else:
            speaker = speakers[name][0] if speakers is not None else ""
            place = place if text else where
            utterances.append(Utterance(name, recordings[recording], text, speaker, place, start, end))
    listed = entries if segments is None else segments
    for name, (*_, place) in listed.items():
        if name not in texts:
            problems.append(Problem("missing transcript", str(place), f"{name} is not in text"))
    return utterances, problems


NO_SEGMENT: Segment = ("", 0.0, None, "")


def _audio(folder: Path, name: str, entry: str, where: str, allow_pipes: bool, audio_dir: Path) -> Audio:
    """The recording of a line of wav.scp."""
    if entry.endswith("|") and entry[:-1].strip():
        if not allow_pipes:
            raise ValueError(
                f"{where}: {name} is a shell command ({entry[:60]}): --allow-pipes true runs the commands of this file"
            )
        return Audio(name, stored_path(audio_dir, name), entry[:-1].strip())
    if not entry or entry[0] in "|-" or entry.endswith("|"):
        raise ValueError(f"{where}: {entry[:60]!r} is neither a path nor a command that ends in |")
    path = Path(entry)
    if not path.exists() and (folder / path).is_file():
        path = folder / path
    ending, _, offset = entry.rpartition(":")
    if offset.isdigit() and ending and not path.exists():
        raise ValueError(f"{where}: {entry[:60]} is in an archive: write files with Kaldi's wav-copy")
    return Audio(name, path)


def _segments(path: Path) -> Optional[dict[str, Segment]]:
    """By utterance its segment; None where there is no file. Raises ValueError with file and line."""
    if not path.exists():
        return None
    segments: dict[str, Segment] = {}
    for name, (rest, where) in unique(read_keyed_lines(path)).items():
        fields = rest.split()
        if len(fields) != 3:
            raise ValueError(f"{where}: {len(fields) + 1} columns, not the four of UTTERANCE RECORDING START END")
        start = seconds_of(fields[1], "the start", where)
        end = None if fields[2] in ("-1", "-1.0") else seconds_of(fields[2], "the end", where)
        if end is not None and end <= start:
            raise ValueError(f"{where}: {name} ends at {fields[2]} s, not after its start at {fields[1]} s")
        segments[name] = fields[0], start, end, where
    return segments


def _optional(path: Path) -> Optional[dict[str, tuple[str, str]]]:
    return unique(read_keyed_lines(path)) if path.exists() else None
