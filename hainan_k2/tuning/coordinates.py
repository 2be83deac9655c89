"""Coordinate search: the values of several options with the lowest error rate, one option at a time.

    first passes     all values of one option after another, the others as they are, until a pass changes nothing
    later passes     the values half a step below and above, in the same way
    surface          the two options that matter most, together; a better pair is taken

Error rates are piecewise constant in the weights, so that there is no gradient to follow. A point is evaluated once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from hainan_k2.tuning.axes import Axis

Point = tuple[float, ...]  # a value for every axis
GRID = 2  # steps of the surface on either side of the best point


@dataclass(frozen=True)
class Surface:
    """Error rates over one or two options.

    Attributes:
      names: of the one or two options.
      values: of each option, ascending.
      rates: (n, m) error rates, fractions, by value of the first and of the second option; m is 1 for a single option.
      best: the values with the lowest rate.
    """

    names: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    rates: tuple[tuple[float, ...], ...]
    best: tuple[float, ...]


@dataclass
class CoordinateSearch:
    """A search for the point with the lowest rate.

    Args:
      axes: the options.
      evaluate: from points to their error rates. Points that one call evaluates differ in one option.
    """

    axes: Sequence[Axis]
    evaluate: Callable[[Sequence[Point]], Sequence[float]]
    rates: dict[Point, float] = field(default_factory=dict)

    def best(self, start: Point) -> Point:
        """The best point of passes that begin at `start`. Among points of the same rate, the one found first."""
        point = self._passes(start, lambda axis, value: axis.values())
        return self._passes(point, lambda axis, value: axis.around(value, (-0.5, 0.5)))

    def surface(self, best: Point) -> tuple[Point, Surface]:
        """The rates around `best` over the options that matter most, and the best point on this surface."""
        if len(self.axes) == 1:
            row = self._line(best, 0, self.axes[0].values())
            best = self._lowest([best, *row])
            return best, self._surface([sorted(row)], (0,), best)
        first, second = sorted(sorted(range(len(self.axes)), key=lambda i: -self._spread(best, i))[:2])
        rows = [
            self._line(point, second, self._around(best, second))
            for point in sorted(_points(best, first, self._around(best, first)))
        ]
        best = self._lowest([best, *(point for row in rows for point in row)])
        return best, self._surface([sorted(row) for row in rows], (first, second), best)

    def _passes(self, point: Point, values: Callable[[Axis, float], Iterable[float]]) -> Point:
        before = None
        while point != before:
            before = point
            for i, axis in enumerate(self.axes):
                point = self._lowest([point, *self._line(point, i, values(axis, point[i]))])
        return point

    def _line(self, point: Point, i: int, values: Iterable[float]) -> list[Point]:
        """`_points`, whose rates are known after the call."""
        points = _points(point, i, values)
        new = [p for p in points if p not in self.rates]
        if new:
            self.rates.update(zip(new, self.evaluate(new)))
        return points

    def _lowest(self, points: Sequence[Point]) -> Point:
        return min(points, key=lambda point: self.rates[point])  # the first of equals

    def _spread(self, best: Point, i: int) -> float:
        """By how much the rate varies with option i."""
        rates = [self.rates[point] for point in self._line(best, i, self.axes[i].values())]
        return max(rates) - min(rates)

    def _around(self, best: Point, i: int) -> tuple[float, ...]:
        return self.axes[i].around(best[i], range(-GRID, GRID + 1))

    def _surface(self, rows: Sequence[Sequence[Point]], shown: tuple[int, ...], best: Point) -> Surface:
        if len(shown) == 1:
            values: tuple[tuple[float, ...], ...] = (tuple(point[0] for point in rows[0]),)
            rates: tuple[tuple[float, ...], ...] = tuple((self.rates[point],) for point in rows[0])
        else:
            values = tuple(row[0][shown[0]] for row in rows), tuple(point[shown[1]] for point in rows[0])
            rates = tuple(tuple(self.rates[point] for point in row) for row in rows)
        return Surface(tuple(self.axes[i].name for i in shown), values, rates, tuple(best[i] for i in shown))


def _points(point: Point, i: int, values: Iterable[float]) -> list[Point]:
    """`point` itself, and with each of these values of option i."""
    every: list[Point] = [(*point[:i], value, *point[i + 1 :]) for value in (point[i], *values)]
    return list(dict.fromkeys(every))
