"""lhotse's cuts, in a manifest or a Shar folder: one utterance of each supervision."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Optional, Union

from lhotse import MonoCut
from lhotse.cut import Cut

from hainan_k2.cli import reason
from hainan_k2.data.cuts import StoredCuts, without_command
from hainan_k2.data.dataset import UNREADABLE
from hainan_k2.data.shar import SharCuts
from hainan_k2.data.stored_audio import store_samples, stored_path
from hainan_k2.data.utterances import Audio, Corpus, Problem, Utterance


def read_cuts(path: Path, allow_pipes: bool, audio_dir: Path) -> Corpus:
    """The utterances of a cut manifest, .jsonl or .jsonl.gz, and the problems of those that are left out.

    A cut with one supervision is one utterance, as long as the cut; one with several is an utterance of each. Stored
    features and other fields are left behind.

    Args:
      allow_pipes: take recordings that are shell commands.
      audio_dir: folder to store audio in that is in no file of its own.
    Raises:
      ValueError: with file and line where a line is not a cut, and for commands where `allow_pipes` is false.
    """
    return _utterances(StoredCuts(path, commands=allow_pipes), str(path), audio_dir)


def read_shar(folder: Path, allow_pipes: bool, audio_dir: Path) -> Corpus:
    """The utterances of a Shar folder, as of `read_cuts`; their audio is stored in `audio_dir`.

    Raises ValueError where an archive cannot be read, and for commands where `allow_pipes` is false.
    """
    cuts: Iterable[Cut] = SharCuts(folder)
    if not allow_pipes:
        cuts = map(partial(without_command, str(folder)), cuts)
    return _utterances(cuts, str(folder), audio_dir)


def _utterances(cuts: Iterable[Cut], source: str, audio_dir: Path) -> Corpus:
    utterances: list[Utterance] = []
    problems: list[Problem] = []
    stored: set[Path] = set()
    for number, cut in enumerate(cuts, 1):
        where = f"{source}:{number}"
        if not isinstance(cut, MonoCut):
            problems.append(Problem("no single recording", where, f"cut {cut.id} is a {type(cut).__name__}"))
        elif not cut.has_recording:
            problems.append(Problem("missing audio", where, f"cut {cut.id} has no recording"))
        elif not cut.supervisions:
            problems.append(Problem("missing transcript", where, f"cut {cut.id} has no supervision"))
        elif isinstance(audio := _audio(cut, where, audio_dir, stored), Problem):
            problems.append(audio)
        else:
            utterances += _of_cut(cut, *audio, where)
    return utterances, problems


def _of_cut(cut: MonoCut, audio: Audio, start: float, channel: Optional[int], where: str) -> list[Utterance]:
    alone = len(cut.supervisions) == 1
    utterances = []
    for s in cut.supervisions:
        first, last = (0.0, cut.duration) if alone else (max(0.0, s.start), min(s.end, cut.duration))
        words = (s.alignment or {}).get("word", [])
        utterances.append(
            Utterance(
                cut.id if alone else s.id,
                audio,
                s.text or "",
                s.speaker or "",
                where,
                start + first,
                start + last,
                s.language,
                tuple(item.with_offset(-first) for item in words),
                channel,
            )
        )
    return utterances


def _audio(
    cut: MonoCut, where: str, audio_dir: Path, stored: set[Path]
) -> Union[tuple[Audio, float, Optional[int]], Problem]:
    """The recording, the second of it at which the cut starts, and the channel where it has several; or the problem of
    audio that is to be stored, in a file that is then in `stored`."""
    recording = cut.recording
    channel = cut.channel if recording.num_channels > 1 else None
    source = recording.sources[0] if len(recording.sources) == 1 and not recording.transforms else None
    if source is not None and source.type == "file":
        return Audio(recording.id, Path(source.source)), cut.start, channel
    if source is not None and source.type == "command":
        return Audio(recording.id, stored_path(audio_dir, recording.id), str(source.source)), cut.start, channel
    # In memory, at a URL or to be transformed: each cut becomes a file of its own.
    path = stored_path(audio_dir, cut.id)
    if path in stored:
        return Problem("duplicate id", where, f"{cut.id} is there already")
    try:
        samples = cut.load_audio()
    except UNREADABLE as error:
        return Problem("bad audio", where, f"{cut.id}: {reason(error)[:300]}")
    store_samples(samples.T, recording.sampling_rate, path, "PCM_16")
    stored.add(path)
    return Audio(cut.id, path), 0.0, None
