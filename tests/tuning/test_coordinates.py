"""The coordinate search against all points of a grid."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.search import METHODS
from hainan_k2.tuning.axes import AXES, Axis, axes_of
from hainan_k2.tuning.coordinates import CoordinateSearch
from hainan_k2.tuning.drawing import draw_surface

TWO = (Axis("lm_scale", 0.0, 1.0, 0.2), Axis("token_bonus", -1.0, 3.0, 1.0))
THREE = (*TWO, Axis("duration_scale", 0.5, 2.0, 0.5))


def search(axes, rate):
    """A search, and the points that it evaluated, call by call."""
    calls = []

    def evaluate(points):
        calls.append(list(points))
        return [rate(point) for point in points]

    return CoordinateSearch(axes, evaluate), calls


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1, 3), min_size=3, max_size=3), st.integers(1, 3))
def test_of_a_bowl_it_finds_the_lowest_point_of_half_steps(centre, count):
    """Without interactions, one option after the other is enough."""
    axes = THREE[:count]

    def rate(point):
        return sum(abs(value - c) / axis.step for value, c, axis in zip(point, centre, axes))

    found = search(axes, rate)[0].best(tuple(axis.low for axis in axes))
    halves = [
        [axis.low + i * axis.step / 2 for i in range(2 * round((axis.high - axis.low) / axis.step) + 1)]
        for axis in axes
    ]
    assert rate(found) == pytest.approx(min(map(rate, product(*halves))))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_no_single_option_is_better_and_no_point_is_evaluated_twice(seed, count):
    """Rates without any order, a hash of the point."""
    axes = THREE[:count]

    def rate(point):
        return hash((seed, *point)) % 997 / 997

    walk, calls = search(axes, rate)
    best = walk.best(tuple(axis.low for axis in axes))
    lines = [
        (*best[:i], value, *best[i + 1 :])
        for i, axis in enumerate(axes)
        for value in axis.around(best[i], (-0.5, 0, 0.5))
    ]
    assert rate(best) == min(map(rate, lines))
    lowest, surface = walk.surface(best)
    assert rate(lowest) <= rate(best) and rate(lowest) == walk.rates[lowest]
    evaluated = [point for call in calls for point in call]
    assert len(evaluated) == len(set(evaluated))
    for call in calls:
        assert sum(len({point[i] for point in call}) > 1 for i in range(count)) <= 1
    assert min(min(row) for row in surface.rates) == rate(lowest)


def test_the_surface_shows_the_two_options_that_matter_most(tmp_path):
    def rate(point):
        return abs(point[0] - 0.4) + 0.001 * abs(point[1] - 1.0) + 0.1 * abs(point[2] - 1.5)

    walk, _ = search(THREE, rate)
    best = walk.best((0.0, 0.0, 1.0))
    assert best == (0.4, 1.0, 1.5)
    found, surface = walk.surface(best)
    assert found == best and surface.best == (0.4, 1.5)
    assert surface.names == ("lm_scale", "duration_scale")
    assert surface.values == ((0.0, 0.2, 0.4, 0.6, 0.8), (0.5, 1.0, 1.5, 2.0))
    for i, x in enumerate(surface.values[0]):
        for j, y in enumerate(surface.values[1]):
            assert surface.rates[i][j] == rate((x, 1.0, y))
    draw_surface(surface, tmp_path / "twice.svg", "title")
    draw_surface(surface, tmp_path / "again.svg", "title")
    text = (tmp_path / "twice.svg").read_text()
    assert text == (tmp_path / "again.svg").read_text() and text.startswith("<?xml")
    draw_surface(walk_of_one().surface((0.4,))[1], tmp_path / "one.png", "title")
    assert (tmp_path / "one.png").read_bytes()[:4] == b"\x89PNG"


def walk_of_one():
    return search(THREE[:1], lambda point: abs(point[0] - 0.4))[0]


def test_of_equal_points_the_first_one_stays():
    assert search(TWO, lambda point: 0.5)[0].best((0.3, 0.0)) == (0.3, 0.0)


def test_the_options_of_a_method_depend_on_the_resources():
    def names(method, *given):
        return [axis.name for axis in axes_of(METHODS[method], given)]

    assert names("ar-beam") == ["token_bonus", "duration_scale"]
    assert names("ar-beam", "lm", "lodr_lm") == ["lm_scale", "token_bonus", "duration_scale", "lodr_scale"]
    assert names("graph", "graph")[0] == "lm_scale"
    assert names("sar", "hotwords") == ["hotword_scale"]
    assert names("nar-greedy") == []
    with pytest.raises(ValueError, match="method nbest-oracle picks the text by its reference"):
        names("nbest-oracle")
    for axis in AXES:
        assert axis.values()[0] == axis.low and axis.values()[-1] == axis.high
        assert any(axis.name in method.options for method in METHODS.values())
