"""Results by duration, by error rate and by speaker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hainan_k2.inference.decoded import Decoded
from hainan_k2.scoring.wer import Errors

STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)  # seconds
MOST_BINS = 20  # of durations, where the largest step allows it
RATE_BINS = 12  # no error; WER up to 10, 20, ... 100 %; above 100 %


@dataclass(frozen=True)
class Durations:
    """Histogram of durations: `counts[i]` utterances last from i * `step` to less than (i + 1) * `step` seconds."""

    step: float
    counts: tuple[int, ...]


def durations(seconds: Sequence[float]) -> Durations:
    """The histogram of durations in seconds, with the smallest step that needs at most 20 bins.

    >>> durations([0.5, 1.0, 1.4])
    Durations(step=0.1, counts=(0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1))
    """

    def bin_of(value: float, step: float) -> int:
        return int(value / step + 1e-9)  # 0.3 / 0.1 is less than 3

    longest = max(seconds, default=0.0)
    step = next((step for step in STEPS if bin_of(longest, step) < MOST_BINS), STEPS[-1])
    counts = Counter(bin_of(value, step) for value in seconds)
    return Durations(step, tuple(counts[i] for i in range(max(counts, default=-1) + 1)))


def error_rates(errors: Iterable[Errors]) -> tuple[int, ...]:
    """The number of utterances (12,) without an error, with a WER above 0 and up to 10 %, above 10 and up to 20 %, ...,
    above 90 and up to 100 %, and above 100 %. Words recognised where the reference is empty count as above 100 %.

    >>> error_rates([Errors(hits=9, substitutions=1), Errors(hits=8, substitutions=2), Errors(insertions=1)])
    (0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1)
    """
    counts = Counter(_rate_bin(e.total, e.reference_length) for e in errors)
    return tuple(counts[i] for i in range(RATE_BINS))


def _rate_bin(errors: int, words: int) -> int:
    if not words:
        return RATE_BINS - 1 if errors else 0
    return min(-(-10 * errors // words), RATE_BINS - 1)


@dataclass(frozen=True)
class Speaker:
    """The utterances of a speaker: their ids, and their length in seconds."""

    name: str
    utterances: tuple[str, ...]
    seconds: float


def by_speaker(decoded: Iterable[Decoded], speakers: Mapping[str, str]) -> list[Speaker]:
    """The speakers, sorted by name; "" is the speaker of the utterances whose speaker is not known.

    Empty if there is only one speaker, or one for each utterance: other parts of the page show the same then.

    Args:
      speakers: the speaker of each utterance, by utterance id.
    """
    groups: dict[str, list[Decoded]] = {}
    for utterance in decoded:
        groups.setdefault(speakers.get(utterance.id, ""), []).append(utterance)
    if len(groups) < 2 or all(len(group) == 1 for group in groups.values()):
        return []
    return [
        Speaker(name, tuple(d.id for d in group), sum(d.seconds for d in group))
        for name, group in sorted(groups.items())
    ]
