"""The progress of a training, as checkpoints store it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_OLD_NAMES = {"heard": "audio_seconds", "unspelled": "unalignable"}  # in older checkpoints


@dataclass
class TrainingProgress:
    """How far training is: all that the next update depends on, besides weights and optimizer."""

    epoch: int = 1  # the epoch in progress, from 1
    batch: int = 0  # batches of this epoch that are done, in each rank
    updates: int = 0
    audio_seconds: float = 0.0  # trained on so far, over all epochs
    skipped: int = 0  # updates skipped, because a loss or gradient was not finite
    unalignable: int = 0  # utterances left out by a loss, because their labels had no path; over all epochs
    ranks: int = 1  # processes that share the batches of an epoch

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingProgress:
        """The progress in a checkpoint. Raises TypeError for unknown names."""
        return cls(**{_OLD_NAMES.get(name, name): value for name, value in values.items()})

    def share_over(self, ranks: int) -> None:
        """Go on with another number of ranks. lhotse gives them the batches of an epoch in turn, so up to `ranks` - 1
        batches are repeated where the number that is done cannot be shared out."""
        self.batch = self.batch * self.ranks // ranks
        self.ranks = ranks
