"""Sections add up, also those inside others."""

from hainan_k2 import stopwatch
from hainan_k2.stopwatch import Stopwatch


def test_a_section_inside_another_counts_once(monkeypatch):
    """The outer section lasts from 10 to 18 s, 1 + 2 s of it in the inner one."""
    clock = iter([0, 10, 11, 12, 13, 15, 18, 100])
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: next(clock))
    watch = Stopwatch()
    with watch.section("outer"):
        with watch.section("inner"):
            pass
        with watch.section("inner"):
            pass
    assert dict(watch.seconds) == {"outer": 5, "inner": 3}
    lines = [line.split() for line in watch.table().splitlines()]
    assert [line[0] for line in lines] == ["other", "outer", "inner", "total", "CPU"]
    assert lines[0][1] == "92.00" and lines[3][1] == "100.00"


def test_a_section_that_fails_counts(monkeypatch):
    clock = iter([0, 1, 2, 4, 8])
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: next(clock))
    watch = Stopwatch()
    try:
        with watch.section("outer"):
            with watch.section("inner"):
                raise KeyError
    except KeyError:
        pass
    assert dict(watch.seconds) == {"outer": 5, "inner": 2}
