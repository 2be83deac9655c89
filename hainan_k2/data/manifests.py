"""Corpus folders to lhotse manifests. Utterances that cannot be trained on are left out, named and counted.

lhotse's own recipes stop at the first bad line, or skip it without a message; here every file is decoded once before
its manifest is written, so that later stages can trust it. For a corpus without faults the recordings and supervisions
are those of `lhotse prepare librispeech`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional, Union

from lhotse import CutSet, MonoCut, Recording, RecordingSet, SupervisionSegment, SupervisionSet
from lhotse.recipes.librispeech import parse_alignments
from lhotse.supervision import AlignmentItem
from tqdm import tqdm

from hainan_k2.files.jsonl import write_lines
from hainan_k2.frontend.audio import decode_audio
from hainan_k2.frontend.samples import FRAME_LENGTH

Manifest = Union[RecordingSet, SupervisionSet, CutSet]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Utterance:
    """One audio file and its transcript.

    `source` is the file or file:line of the transcript, for messages; `alignment` the times of its words, if known.
    """

    id: str
    path: Path
    speaker: str
    text: str
    source: str = ""
    alignment: tuple[AlignmentItem, ...] = ()


@dataclass(frozen=True)
class Problem:
    """Why an utterance is left out: a kind of problem ("empty transcript"), the file or file:line, and the details."""

    kind: str
    where: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.detail}"


@dataclass(frozen=True)
class SplitReport:
    """The result of `write_manifests` for one split."""

    split: str
    kept: int
    seconds: float
    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        kinds = Counter(problem.kind for problem in self.problems)
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        return f"{self.split}: {self.kept} utterances, {self.seconds / 3600:.2f} h; {len(self.problems)} left out" + (
            f" ({counts})" if counts else ""
        )


def read_librispeech(split_dir: Path) -> tuple[list[Utterance], list[Problem]]:
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
            speaker = name.partition("-")[0]
            yield name, Utterance(name, path.with_name(f"{name}.flac"), speaker, text.strip(), where)


def _read_alignments(transcript: Path) -> dict[str, tuple[AlignmentItem, ...]]:
    path = transcript.with_name(transcript.name.replace(".trans.txt", ".alignment.txt"))
    if not path.is_file():
        return {}
    try:
        return {name: tuple(items) for name, items in parse_alignments(path).items()}
    except ValueError as error:
        raise ValueError(f"{path}: lines are not all of the form ID WORDS END_TIMES ({error})") from None


def write_manifests(
    utterances: Sequence[Utterance],
    out_dir: Path,
    split: str,
    prefix: str = "librispeech",
    problems: Sequence[Problem] = (),
    num_jobs: int = 2,
    taken: Optional[set[str]] = None,
) -> SplitReport:
    """Decode every utterance, leave out those with problems and write manifests of the others.

    The manifests are OUT_DIR/PREFIX_{recordings,supervisions,cuts}_SPLIT.jsonl.gz; none is written where no
    utterance is left.

    Args:
      problems: earlier problems of this split, reported with those that occur here.
      num_jobs: threads that decode audio.
      taken: ids of earlier splits, to which the ids of this one are added: an id is used in one split only.
    """
    every_problem, taken = list(problems), set() if taken is None else taken
    unique: list[Utterance] = []
    for utterance in utterances:
        if utterance.id in taken:
            every_problem.append(
                Problem("duplicate id", utterance.source or str(utterance.path), f"{utterance.id} is there already")
            )
        elif not utterance.text.strip():
            every_problem.append(
                Problem("empty transcript", utterance.source or str(utterance.path), f"{utterance.id} has no text")
            )
        else:
            taken.add(utterance.id)
            unique.append(utterance)
    with ThreadPoolExecutor(num_jobs) as pool:  # threads: libsndfile decodes outside the interpreter's lock
        results = pool.map(check_audio, unique)
        checked = list(zip(unique, tqdm(results, f"decoding {split}", len(unique), disable=None)))
    every_problem += [problem for _, problem in checked if problem]
    kept = [_manifest_items(utterance) for utterance, problem in checked if not problem]
    for problem in every_problem:
        logger.warning(problem)
    if kept:
        recordings, supervisions, cuts = zip(*kept)
        for name, manifest in (
            ("recordings", RecordingSet.from_recordings(recordings)),
            ("supervisions", SupervisionSet.from_segments(supervisions)),
            ("cuts", CutSet.from_cuts(cuts)),
        ):
            write_manifest(manifest, out_dir / f"{prefix}_{name}_{split}.jsonl.gz")
    report = SplitReport(split, len(kept), sum(r.duration for r, _, _ in kept), tuple(every_problem))
    logger.info(report)
    return report


def check_audio(utterance: Utterance) -> Optional[Problem]:
    """Decode the audio of an utterance: its problem, or None."""
    try:
        samples, rate = decode_audio(utterance.path)
    except ValueError as error:
        return Problem("bad audio", str(utterance.path), str(error).replace(f"{utterance.path}: ", "", 1))
    if samples.shape[1] != 1:
        return Problem("bad audio", str(utterance.path), f"{samples.shape[1]} channels instead of one")
    if len(samples) < FRAME_LENGTH * rate:
        return Problem("bad audio", str(utterance.path), f"only {len(samples)} samples at {rate} Hz")
    return None


def _manifest_items(utterance: Utterance) -> tuple[Recording, SupervisionSegment, MonoCut]:
    # Absolute paths: manifests are read from other working directories than the one that wrote them.
    recording = Recording.from_file(Path(utterance.path).resolve(), recording_id=utterance.id)
    supervision = SupervisionSegment(
        id=utterance.id,
        recording_id=utterance.id,
        start=0.0,
        duration=recording.duration,
        channel=0,
        language="English",
        speaker=utterance.speaker,
        text=utterance.text.strip(),
        alignment={"word": list(utterance.alignment)} if utterance.alignment else None,
    )
    cut = MonoCut(
        id=utterance.id,
        start=0.0,
        duration=recording.duration,
        channel=0,
        supervisions=[supervision],
        recording=recording,
    )
    return recording, supervision, cut


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a .jsonl.gz whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_lines(path, manifest.to_dicts())
