"""Averages of weights: over checkpoints, and over the updates between two checkpoints.

The running average samples the weights after every `every`-th update; a_n is the mean of the first n samples.
Checkpoints store a_n and n, from which the mean of the samples between two of them, m < n, follows:

    (n a_n - m a_m) / (n - m)

This is icefall's --use-averaged-model. It needs less disk space than averaging the checkpoints of many epochs, and
averages more models.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Optional

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)


def average_states(states: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of the floating-point tensors of state dicts, computed in float64, returned as float32.

    Other tensors are those of the last state.
    """
    total: dict[str, Tensor] = {}
    count = 0
    for state in states:
        count += 1
        for name, value in state.items():
            if not value.is_floating_point():
                total[name] = value
            elif name in total:
                total[name] = total[name] + value.double()
            else:
                total[name] = value.double()
    return {name: (value / count).float() if value.is_floating_point() else value for name, value in total.items()}


class RunningAverage:
    """The mean of `count` samples of a state dict, in float64 on the CPU; integers are those of the last sample."""

    def __init__(self, every: int):
        self.every, self.count = every, 0
        self.mean: dict[str, Tensor] = {}

    def update(self, model: nn.Module, updates: int) -> None:
        """Sample the weights after every `every`-th update; `updates` is the number of updates so far."""
        if self.every and updates % self.every == 0:
            self.count += 1
            for name, value in model.state_dict().items():
                new = _doubled(value)
                averaged = new.is_floating_point() and self.count > 1
                self.mean[name] = self.mean[name].lerp_(new, 1 / self.count) if averaged else new

    def state(self) -> dict[str, Any]:
        """The values that a checkpoint stores."""
        return {"every": self.every, "count": self.count, "mean": self.mean}

    def load(self, state: Optional[dict[str, Any]]) -> None:
        """Continue the average of a checkpoint. Where it has none, or one with another `every`, averaging ends, since
        the result would not be the mean of all updates."""
        if state is None or state["every"] != self.every:
            if self.every:
                logger.warning("the checkpoint has no running average of every %d updates: none is kept", self.every)
            self.every, self.count, self.mean = 0, 0, {}
        else:
            self.count, self.mean = state["count"], state["mean"]


def average_of(state: dict[str, Any], path: Path) -> dict[str, Any]:
    """The state of the RunningAverage in a checkpoint; ValueError where it has none."""
    average = state.get("average")
    if not isinstance(average, dict) or not average.get("every"):
        raise ValueError(f"{path} has no running average: it was trained without --average-every")
    mean = average.get("mean")
    numbers = all(type(average.get(key)) is int for key in ("every", "count"))
    if not numbers or not isinstance(mean, dict) or not all(isinstance(value, Tensor) for value in mean.values()):
        raise ValueError(f"{path} has a running average that is not complete")
    return average


def average_between(start: Optional[dict[str, Any]], end: dict[str, Any]) -> dict[str, Tensor]:
    """The mean, float32, of the samples between two states of a RunningAverage; None is the start of training.

    Raises ValueError where there is no sample in between, and where the states are of different models.
    """
    first, last = start["count"] if start is not None else 0, end["count"]
    if last <= first:
        raise ValueError(
            f"the running average holds {last} samples, {first} of them before the epochs to average: "
            "average more epochs, or train with a smaller --average-every"
        )
    if start and {n: v.shape for n, v in start["mean"].items()} != {n: v.shape for n, v in end["mean"].items()}:
        raise ValueError("the running averages before and after these epochs are of different models")
    means: dict[str, Tensor] = {}
    for name, value in end["mean"].items():
        if start is not None and first and value.is_floating_point():
            value = (last * value - first * start["mean"][name]) / (last - first)
        means[name] = value.float() if value.is_floating_point() else value
    return means


def _doubled(value: Tensor) -> Tensor:
    kind = torch.float64 if value.is_floating_point() else value.dtype
    return value.detach().to("cpu", kind, copy=True)
