"""The options that hainan-tune searches, and their values.

Importing this file loads neither torch nor k2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hainan_k2.search.method import Method
from hainan_k2.search.options import SearchConfig


@dataclass(frozen=True)
class Axis:
    """An option whose values are searched: from `low` to `high` in steps of `step`, then in steps of `step` / 2.

    `needs`: resources of which one must be given, or the option has no effect.
    """

    name: str
    low: float
    high: float
    step: float
    needs: tuple[str, ...] = ()

    def values(self) -> tuple[float, ...]:
        """The values of the first pass."""
        return tuple(round(self.low + i * self.step, 6) for i in range(round((self.high - self.low) / self.step) + 1))

    def around(self, value: float, steps: Iterable[float]) -> tuple[float, ...]:
        """What lies so many steps above `value`, within the bounds; `value` itself for a step of 0."""
        points = ((step, value + step * self.step) for step in steps)
        return tuple(round(x, 6) for step, x in points if not step or self.low <= round(x, 6) <= self.high)


AXES = (
    Axis("lm_scale", 0.0, 1.2, 0.2, needs=("lm", "graph")),
    Axis("token_bonus", -1.0, 4.0, 1.0),
    Axis("duration_scale", 0.5, 3.0, 0.5),
    Axis("skip_scale", 0.0, 0.8, 0.1),
    Axis("lodr_scale", 0.0, 0.4, 0.1, needs=("lodr_lm",)),
    Axis("hotword_scale", 0.0, 4.0, 1.0, needs=("hotwords",)),
    Axis("ar_weight", 0.0, 1.0, 0.2),
    Axis("nbest_scale", 0.2, 2.0, 0.2),
)
RESCORING_AXES = (  # of the method rescore; those whose scores its lists have
    Axis("ar_weight", 0.0, 1.0, 0.1),
    Axis("lm_weight", 0.0, 2.0, 0.2),
    Axis("ctc_weight", 0.0, 1.0, 0.1),
    Axis("length_bonus", -2.0, 5.0, 0.5),
)


def with_values(options: SearchConfig, values: Mapping[str, Any]) -> SearchConfig:
    """The options with other values of those named."""
    return replace(options, **values)


def axes_of(method: Method, given: Sequence[str]) -> list[Axis]:
    """The options of a method that are searched, where the resources `given` are.

    Empty for a method without weights; ValueError for an oracle.
    """
    axes = [axis for axis in AXES if axis.name in method.options and (not axis.needs or set(axis.needs) & set(given))]
    if method.oracle:
        raise ValueError(f"method {method.name} picks the text by its reference: it gives a bound, and nothing to tune")
    return axes
