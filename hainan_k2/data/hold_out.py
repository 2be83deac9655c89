"""Parts of a corpus that are held out from training, for validation and tests."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Optional

from lhotse import MonoCut

FEWEST = 20  # groups below which a finer grouping is taken

logger = logging.getLogger(__name__)

# What goes into the same part as a whole, the coarsest first.
GROUPINGS: dict[str, Callable[[MonoCut], Optional[str]]] = {
    "speaker": lambda cut: cut.supervisions[0].speaker,
    "recording": lambda cut: cut.recording_id,
    "utterance": lambda cut: cut.id,
}


def hold_out(cuts: Sequence[MonoCut], fractions: Mapping[str, float], rest: str) -> dict[str, list[MonoCut]]:
    """The parts of `fractions`, each about that fraction of the duration, and the rest under the name `rest`.

    Speakers stay together where at least 20 are known, or else recordings, or else utterances are drawn. The choice
    depends on the names of these only.

    Raises ValueError where a fraction is not above 0, they add up to 1 or more, or a part remains empty.
    """
    if not all(fraction > 0 for fraction in fractions.values()) or sum(fractions.values()) >= 1:
        shown = ", ".join(f"{name}={fraction:g}" for name, fraction in fractions.items())
        raise ValueError(f"--hold-out {shown}: fractions are above 0 and add up to less than 1")
    if rest in fractions:
        raise ValueError(f"--hold-out {rest}: this is the name of the split itself; give it another by --split")
    grouping, groups = _groups(cuts)
    logger.info("held out by %s, of %d", grouping, len(groups))
    parts: dict[str, list[MonoCut]] = {name: [] for name in (*fractions, rest)}
    total = sum(cut.duration for cut in cuts)
    order = iter(sorted(groups, key=lambda name: hashlib.sha256(name.encode("utf-8")).digest()))
    for part, fraction in fractions.items():
        seconds = 0.0
        while seconds < fraction * total and (name := next(order, None)) is not None:
            parts[part] += groups[name]
            seconds += sum(cut.duration for cut in groups[name])
    for name in order:
        parts[rest] += groups[name]
    empty = [name for name, part in parts.items() if not part]
    if empty:
        raise ValueError(f"--hold-out: nothing is left for {', '.join(empty)} of {len(groups)} {grouping}s")
    return parts


def _groups(cuts: Sequence[MonoCut]) -> tuple[str, dict[str, list[MonoCut]]]:
    """The name of the coarsest grouping with enough groups, and the cuts by group."""
    groupings = {name: _grouped(cuts, key) for name, key in GROUPINGS.items()}
    large = [name for name, groups in groupings.items() if len(groups) >= FEWEST and "" not in groups]
    name = large[0] if large else "utterance"
    return name, groupings[name]


def _grouped(cuts: Sequence[MonoCut], key: Callable[[MonoCut], Optional[str]]) -> dict[str, list[MonoCut]]:
    groups: dict[str, list[MonoCut]] = {}
    for cut in cuts:
        groups.setdefault(key(cut) or "", []).append(cut)
    return groups
