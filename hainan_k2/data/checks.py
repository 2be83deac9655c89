"""Utterances checked before they become cuts: every recording is decoded, and what cannot be used is named.

lhotse's own importers stop at the first bad line, or skip it without a message. Here later stages can trust what is
left.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

from lhotse import MonoCut, Recording, SupervisionSegment
from tqdm import tqdm

from hainan_k2.data.stored_audio import store_command
from hainan_k2.data.utterances import Audio, Problem, Utterance
from hainan_k2.frontend.audio import decode_audio
from hainan_k2.frontend.samples import FRAME_LENGTH

LONGER = FRAME_LENGTH  # seconds by which a segment may end after its recording: times are rounded


def as_written(text: str) -> str:
    """The text without white space at its ends."""
    return text.strip()


@dataclass(frozen=True)
class Checked:
    """Cuts of the utterances that can be used, and the problems of the others."""

    cuts: tuple[MonoCut, ...]
    problems: tuple[Problem, ...]

    def left_out(self) -> str:
        """How many utterances are left out, and how many for which kind of problem."""
        kinds = Counter(problem.kind for problem in self.problems)
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        return f"{len(self.problems)} left out" + (f" ({counts})" if counts else "")


def check_utterances(
    utterances: Sequence[Utterance],
    problems: Iterable[Problem] = (),
    num_jobs: int = 2,
    taken: Optional[set[str]] = None,
    normalise: Callable[[str], str] = as_written,
) -> Checked:
    """Decode every recording, and make a cut of each utterance that can be used.

    Left out are utterances whose id is there already or has spaces, without words after `normalise`, with audio that is
    missing, damaged, has the id of another file, or has several channels of which none is chosen, that end after their
    recording, and that share more than half of their time with an earlier one of the same speaker and channel.

    Args:
      problems: earlier problems, returned with those that occur here.
      num_jobs: threads that decode audio.
      taken: ids of other splits, to which the ids of this one are added: an id is used in one split only.
      normalise: makes the texts of the cuts.
    """
    every_problem, taken = list(problems), set() if taken is None else taken
    usable: list[tuple[Utterance, str]] = []
    for utterance in utterances:
        text = normalise(utterance.text)
        if utterance.id in taken:
            every_problem.append(Problem("duplicate id", utterance.where, f"{utterance.id} is there already"))
        elif not utterance.id or len(utterance.id.split()) > 1:
            every_problem.append(Problem("unusable id", utterance.where, f"{utterance.id!r} is empty or has spaces"))
        elif not text:
            reason = "no words" if utterance.text.strip() else "no text"
            every_problem.append(Problem("empty transcript", utterance.where, f"{utterance.id} has {reason}"))
        else:
            taken.add(utterance.id)
            usable.append((utterance, text))
    recordings = _check_recordings([utterance.audio for utterance, _ in usable], num_jobs)
    cuts: list[MonoCut] = []
    kept: dict[tuple[str, str, int], KeptCuts] = defaultdict(KeptCuts)
    for utterance, text in usable:
        result = _cut_of(utterance, text, recordings[utterance.audio])
        if not isinstance(result, Problem):
            earlier = kept[result.recording_id, utterance.speaker, result.channel]
            result = earlier.add(result, utterance.where) or result
        if isinstance(result, Problem):
            every_problem.append(result)
        else:
            cuts.append(result)
    return Checked(tuple(cuts), tuple(every_problem))


def _check_recordings(audio: Iterable[Audio], num_jobs: int) -> dict[Audio, Union[Recording, Problem]]:
    """Every recording once, decoded from start to end, or its problem. An id belongs to one file only."""
    recordings: dict[Audio, Union[Recording, Problem]] = {}
    first: dict[str, Audio] = {}
    for one in audio:
        other = first.setdefault(one.id, one)
        if other != one:
            detail = f"the id of its recording, {one.id}, is that of {other.path} already"
            recordings[one] = Problem("duplicate id", str(one.path), detail)
    with ThreadPoolExecutor(num_jobs) as pool:  # threads: libsndfile decodes outside the interpreter's lock
        results = pool.map(check_audio, first.values())
        recordings.update(zip(first.values(), tqdm(results, "decoding", len(first), disable=None)))
    return recordings


def check_audio(audio: Audio) -> Union[Recording, Problem]:
    """The recording, decoded from start to end, or its problem. A command is run, and its output stored, before."""
    try:
        if audio.command:
            store_command(audio.command, audio.path)
        samples, rate = decode_audio(audio.path)
    except ValueError as error:
        kind = "missing audio" if not audio.path.is_file() and not audio.command else "bad audio"
        return Problem(kind, str(audio.path), str(error).replace(f"{audio.path}: ", "", 1))
    if len(samples) < FRAME_LENGTH * rate:
        return Problem("bad audio", str(audio.path), f"only {len(samples)} samples at {rate} Hz")
    # Absolute paths: manifests are read from other working directories than the one that wrote them.
    return Recording.from_file(Path(audio.path).resolve(), recording_id=audio.id)


def _cut_of(utterance: Utterance, text: str, recording: Union[Recording, Problem]) -> Union[MonoCut, Problem]:
    """The cut of an utterance, or its problem."""
    if isinstance(recording, Problem):
        if recording.where == utterance.where or not utterance.source:
            return recording
        return Problem(recording.kind, utterance.source, f"{utterance.id}: {recording.where}: {recording.detail}")
    channels = recording.num_channels
    if utterance.channel is None and channels > 1:
        detail = f"{utterance.id}: {utterance.audio.path} has {channels} channels instead of one"
        return Problem("bad audio", utterance.where, detail)
    end = recording.duration if utterance.end is None else utterance.end
    if end > recording.duration + LONGER or utterance.start >= recording.duration:
        detail = f"{utterance.id} is from {utterance.start:g} to {end:g} s of a recording of {recording.duration:g} s"
        return Problem("beyond the recording", utterance.where, detail)
    duration = round(min(end, recording.duration) - utterance.start, 8)
    if duration < FRAME_LENGTH:
        return Problem("too short", utterance.where, f"{utterance.id} has {1000 * duration:.0f} ms")
    channel = utterance.channel or 0
    supervision = SupervisionSegment(
        id=utterance.id,
        recording_id=recording.id,
        start=0.0,
        duration=duration,
        channel=channel,
        language=utterance.language,
        speaker=utterance.speaker or None,
        text=text,
        alignment={"word": list(utterance.alignment)} if utterance.alignment else None,
    )
    return MonoCut(
        id=utterance.id,
        start=utterance.start,
        duration=duration,
        channel=channel,
        supervisions=[supervision],
        recording=recording,
    )


class KeptCuts:
    """The cuts that are kept of one speaker in one channel of a recording, by their start.

    None shares more than half of the shorter one's time with another, so that none lies within another, and their ends
    ascend as their starts do. A cut that shares too much with any of them then shares too much with a neighbour.
    """

    def __init__(self) -> None:
        self.starts: list[float] = []
        self.cuts: list[MonoCut] = []

    def add(self, cut: MonoCut, where: str) -> Optional[Problem]:
        """Keep a cut, or return its problem where it shares more than half of the shorter one's time with another."""
        place = bisect_left(self.starts, cut.start)
        for other in self.cuts[max(0, place - 1) : place + 1]:
            shared = min(cut.end, other.end) - max(cut.start, other.start)
            if shared > min(cut.duration, other.duration) / 2:
                return Problem("overlapping segments", where, f"{cut.id} shares {shared:.2f} s with {other.id}")
        self.starts.insert(place, cut.start)
        self.cuts.insert(place, cut)
        return None
