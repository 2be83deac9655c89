"""What a manifest offers for training: the cuts that can be used and, by reason, those that are left out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Optional

from hainan_k2.data.config import DataConfig
from hainan_k2.data.cuts import Cuts, check_cut, frames_10ms, open_cuts
from hainan_k2.frontend.spec import FBANK, FeatureSpec


@dataclass(frozen=True)
class CutSummary:
    """How many cuts there are to train on, their seconds, and by reason the ids of those that are left out."""

    kept: int
    seconds: float
    dropped: Mapping[str, tuple[str, ...]]

    @property
    def dropped_ids(self) -> frozenset[str]:
        """The ids to give `train_loader` as `exclude`."""
        return frozenset(name for names in self.dropped.values() for name in names)

    def __str__(self) -> str:
        parts = [f"{self.kept} cuts, {self.seconds / 3600:.2f} h to train on"]
        for reason, names in self.dropped.items():
            shown = " ".join(names[:5]) + (" ..." if len(names) > 5 else "")
            parts.append(f"{len(names)} left out, {reason}: {shown}")
        return "; ".join(parts)


def summarise_cuts(
    cuts: Cuts, config: DataConfig, fits: Optional[Callable[[int, str], bool]] = None, *, spec: FeatureSpec = FBANK
) -> CutSummary:
    """Read the metadata of every training cut once, before training.

    Args:
      fits: `fits(num_frames, text)` tells whether the model can align the text with so many frames of 10 ms; a text
        that does not fit would have an infinite loss.
    Raises:
      ValueError: naming the cut, where no loader could use it.
    """
    kept, seconds, stored = 0, 0.0, None
    dropped: dict[str, list[str]] = defaultdict(list)
    for cut in open_cuts(cuts, metadata=True):
        stored = cut.has_features if stored is None else stored
        check_cut(cut, stored, spec)
        if cut.duration < config.min_duration:
            dropped[f"shorter than {config.min_duration:g} s"].append(cut.id)
        elif cut.duration > config.max_cut_duration:
            dropped[f"longer than {config.max_cut_duration:g} s"].append(cut.id)
        elif fits is not None and not fits(frames_10ms(cut, spec), cut.supervisions[0].text):
            dropped["too few frames for the text"].append(cut.id)
        else:
            kept, seconds = kept + 1, seconds + cut.duration
    return CutSummary(kept, seconds, {reason: tuple(names) for reason, names in dropped.items()})
