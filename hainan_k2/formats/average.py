"""The running average of a model's weights over training, and what it was between two checkpoints.

After every `every`-th update the weights are sampled; the average of the first n samples is a_n. Checkpoints store a_n
and n, so that the mean of the samples between any two of them, m < n, follows without any other file:

    (n a_n - m a_m) / (n - m)

icefall averages so too (--use-averaged-model). It costs less disk than averaging many epochs' checkpoints, and hears
more models.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Optional

import torch
from torch import Tensor, nn


class RunningAverage:
    """The mean of `count` samples of a state dict, in float64 on the CPU. Whole numbers are the last sample's."""

    def __init__(self, every: int):
        self.every, self.count = every, 0
        self.mean: dict[str, Tensor] = {}

    def update(self, model: nn.Module, updates: int) -> None:
        """To be called after every update, with the number of those made; takes a sample of every `every`-th."""
        if self.every and updates % self.every == 0:
            self.count += 1
            for name, value in model.state_dict().items():
                new = _doubled(value)
                old = self.mean.get(name)
                self.mean[name] = old.lerp_(new, 1 / self.count) if new.is_floating_point() and self.count > 1 else new

    def state(self) -> dict[str, Any]:
        return {"every": self.every, "count": self.count, "mean": self.mean}

    def load(self, state: Optional[dict[str, Any]]) -> None:
        """Go on with a checkpoint's average. Without one, or with another `every`, none is kept: it would not be the
        mean of all updates."""
        if state is None or state["every"] != self.every:
            if self.every:
                logging.warning("the checkpoint has no running average of every %d updates: none is kept", self.every)
            self.every, self.count, self.mean = 0, 0, {}
        else:
            self.count, self.mean = state["count"], state["mean"]


def average_of(state: dict[str, Any], path: Path) -> dict[str, Any]:
    """The running average in a checkpoint, as RunningAverage.state gave it; ValueError where there is none."""
    average = state.get("average")
    if not isinstance(average, dict) or not average.get("every"):
        raise ValueError(f"{path} has no running average: it was trained without --average-every")
    mean = average.get("mean")
    numbers = all(type(average.get(key)) is int for key in ("every", "count"))
    if not numbers or not isinstance(mean, dict) or not all(isinstance(value, Tensor) for value in mean.values()):
        raise ValueError(f"{path} has a running average that is not complete")
    return average


def average_between(start: Optional[dict[str, Any]], end: dict[str, Any]) -> dict[str, Tensor]:
    """The mean, float32, of the samples between two states of a RunningAverage; `start` None is where training began.

    Raises ValueError where there was no sample in between, and where the two are of different models.
    """
    first, last = start["count"] if start else 0, end["count"]
    if last <= first:
        raise ValueError(
            f"the running average holds {last} samples, {first} of them before the epochs to average: "
            "average more epochs, or train with a smaller --average-every"
        )
    if start and {n: v.shape for n, v in start["mean"].items()} != {n: v.shape for n, v in end["mean"].items()}:
        raise ValueError("the running averages before and after these epochs are of different models")
    means: dict[str, Tensor] = {}
    for name, value in end["mean"].items():
        if value.is_floating_point() and first:
            value = (last * value - first * start["mean"][name]) / (last - first)
        means[name] = value.float() if value.is_floating_point() else value
    return means


def _doubled(value: Tensor) -> Tensor:
    kind = torch.float64 if value.is_floating_point() else value.dtype
    return value.detach().to("cpu", kind, copy=True)
