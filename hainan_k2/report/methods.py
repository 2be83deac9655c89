"""What the page says of each method: error rates, calibration, most frequent errors, histogram, speakers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any, Optional

from hainan_k2.inference.decoded import Decoded, of_method
from hainan_k2.report.breakdown import Speaker, error_rates
from hainan_k2.report.differences import Pair, unequal_pairs
from hainan_k2.report.page import Page
from hainan_k2.scoring.calibration import calibration, judged_utterances
from hainan_k2.scoring.wer import Errors, Score
from hainan_k2.search import METHODS

CONFUSIONS = 12  # how many of the most frequent substitutions, deletions and insertions are shown


def finite(value: float) -> Optional[float]:
    """The value, or None for one that JSON cannot hold."""
    return value if isfinite(value) else None


def method_data(page: Page, label: str) -> dict[str, Any]:
    """What the page says of a method whether or not there are references."""
    return {
        "label": label,
        "description": METHODS[label.split(" ")[0]].description,
        "search": page.seconds.get(label),
        "failed": sum(label in d.failures for d in page.decoded),
    }


def score_data(scored: Score, label: str, decoded: Sequence[Decoded], speakers: Sequence[Speaker]) -> dict[str, Any]:
    """The errors of a method: of all utterances, their distribution, and those of each of the `speakers`."""
    by_id = {u.id: u.words for u in scored.utterances}
    return {
        **errors_data(scored.words),
        "words": scored.words.reference_length,
        "cer": finite(scored.cer),
        "interval": [finite(limit) for limit in scored.wer_interval()] if scored.utterances else [None, None],
        "rates": error_rates(by_id.values()),
        "speakers": [_speaker_data(speaker, by_id) for speaker in speakers],
        "confusions": _confusions(scored),
        "calibration": _calibration(scored, label, decoded),
    }


def errors_data(errors: Errors) -> dict[str, Any]:
    """The counts of an alignment and their rate, None where it is infinite."""
    return {**asdict(errors), "wer": finite(errors.rate)}


def _speaker_data(speaker: Speaker, by_id: Mapping[str, Errors]) -> dict[str, Any]:
    errors = sum((by_id[name] for name in speaker.utterances), Errors())
    return {**errors_data(errors), "words": errors.reference_length}


def _confusions(scored: Score) -> dict[str, Any]:
    kinds: dict[str, list[Pair]] = {"substitutions": [], "deletions": [], "insertions": []}
    for word, instead, count in unequal_pairs(scored):
        kind = "insertions" if word is None else "deletions" if instead is None else "substitutions"
        kinds[kind].append((word, instead, count))
    return {kind: {"kinds": len(pairs), "most": pairs[:CONFUSIONS]} for kind, pairs in kinds.items()}


def _calibration(scored: Score, label: str, decoded: Sequence[Decoded]) -> dict[str, Any]:
    judged = judged_utterances(scored, *of_method(decoded, label))
    calibrated = calibration(pair for words in judged if words is not None for pair in words)
    return {
        "bins": [asdict(b) for b in calibrated.bins],
        "error": calibrated.error,
        "words": calibrated.words,
        "left_out": sum(words is None for words in judged),
    }
