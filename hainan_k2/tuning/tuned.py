"""Tuned: the best weights of a method on a development set, and how they were found.

rescore                       scored lists, weighted sums (hainan_k2.tuning.lists)
viterbi, viterbi-lm, graph    coordinate search over lattices; new lattices with the best weights, until they stay
all others                    coordinate search, each point decoded; lists serve all orders of their texts
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hainan_k2.scoring.significance import compare, interval
from hainan_k2.search import METHODS, SearchConfig
from hainan_k2.tuning.axes import axes_of, with_values
from hainan_k2.tuning.coordinates import CoordinateSearch, Point, Surface
from hainan_k2.tuning.dev_set import DevSet
from hainan_k2.tuning.lattices import DevLattices, has_lattices
from hainan_k2.tuning.rescoring import tune_rescoring

logger = logging.getLogger(__name__)
ROUNDS = 4  # of lattices


@dataclass(frozen=True)
class Tuned:
    """The best weights.

    Attributes:
      options: all options, the best weights among them.
      values: the options that were tuned.
      before, after: (U,) word errors of every utterance, decoded with the first and with the best weights.
      lengths: (U,) words of every reference.
      surface: error rates around the best weights.
      lines: of the report, about how the weights were found.
    """

    options: SearchConfig
    values: Mapping[str, float]
    before: np.ndarray
    after: np.ndarray
    lengths: np.ndarray
    surface: Surface
    lines: tuple[str, ...]

    def report(self) -> list[str]:
        """Lines with sizes and error rates."""
        lengths, words = self.lengths.tolist(), int(self.lengths.sum())
        low, high = interval(self.after.tolist(), lengths)
        change = compare(self.before.tolist(), self.after.tolist(), lengths)
        return [
            f"{len(lengths)} utterances, {words} words, {', '.join(self.lines)}",
            f"WER with the first weights {100 * self.before.sum() / words:.2f} %",
            f"WER tuned {100 * self.after.sum() / words:.2f} % [{100 * low:.2f}, {100 * high:.2f}], "
            f"{100 * change.difference:+.2f} points, p = {change.p_value:.3f}; tuned on these utterances",
        ]


def tune(dev: DevSet, options: SearchConfig, seed: int = 0) -> Tuned:
    """The best weights of the method of `dev`, beginning with `options`. Raises ValueError for one without weights."""
    if not axes_of(METHODS[dev.method], dev.resources.given()):
        raise ValueError(f"method {dev.method} has no weights to tune")
    if dev.method == "rescore":
        found = tune_rescoring(dev, options, seed)
        best, surface, lines = with_values(options, found.values), found.surface, found.lines
        before, after = dev.decode([options, best])
        return Tuned(best, found.values, before, after, dev.lengths, surface, lines)
    return _by_coordinates(dev, options)


def _by_coordinates(dev: DevSet, options: SearchConfig) -> Tuned:
    """`tune` by coordinate search."""
    given = dev.resources.given()
    axes = axes_of(METHODS[dev.method], given)
    names = [axis.name for axis in axes]

    def at(point: Point) -> SearchConfig:
        return with_values(options, dict(zip(names, point)))

    start: Point = tuple(getattr(options, name) for name in names)
    decoded = {start: dev.decode([options])[0]}
    surfaces: dict[Point, Surface] = {}
    point, evaluated = start, 0
    for _ in range(ROUNDS):
        on_lattices = has_lattices(dev.method, at(point), given)
        errors = DevLattices(dev, at(point)).errors if on_lattices else dev.decode
        search = CoordinateSearch(axes, _rates(dev, errors, at))
        found, surface = search.surface(search.best(point))
        surfaces[found] = surface
        evaluated += len(search.rates)
        if found not in decoded:
            decoded[found] = dev.decode([at(found)])[0]
        rates = 100 * search.rates[found], 100 * dev.rate(decoded[found])
        shown = ", ".join(f"{name} {value:g}" for name, value in zip(names, found))
        logger.info("%s: WER %.2f %%, decoded %.2f %%", shown, *rates)
        if found == point or not on_lattices:
            break
        point = found
    best = min(decoded, key=lambda point: int(decoded[point].sum()))
    lines = (f"{evaluated} settings {'on lattices' if on_lattices else 'decoded'}",)
    values = dict(zip(names, best))
    return Tuned(at(best), values, decoded[start], decoded[best], dev.lengths, surfaces.get(best, surface), lines)


def _rates(
    dev: DevSet,
    errors: Callable[[Sequence[SearchConfig]], Sequence[np.ndarray]],
    at: Callable[[Point], SearchConfig],
) -> Callable[[Sequence[Point]], list[float]]:
    """The function from points to error rates that a search evaluates."""
    return lambda points: [dev.rate(of_point) for of_point in errors([at(point) for point in points])]
