"""Which tests are slow: tests/slow.txt lists them, and `-m "not slow"` leaves them out.

A line is `FOLDER/test_FILE.py::FUNCTION`, or with `[CASE]` one case of a function. `tests/run.sh --write-slow-list`
runs the tests that are asked for, by default all, measures their CPU time, that of the commands that they start
included, and brings their lines up to date. tests/conftest.py makes pytest call the functions of this module.
"""

from __future__ import annotations

import resource
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

LIST = Path(__file__).with_name("slow.txt")
LIMIT = 0.2  # seconds of CPU time; a fixture counts divided by the number of tests that use it
MUCH_SLOWER = 3.0  # seconds: where a test that is not listed takes more, the summary names it


def read_list() -> set[str]:
    return {line for line in LIST.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")}


def name_of(item: pytest.Item) -> str:
    """The name of a test as in the list: its id from tests/ on."""
    return item.nodeid.split("tests/", 1)[-1]


def function_of(name: str) -> str:
    """The name without a case: "test_a.py::test_b[3]" -> "test_a.py::test_b"."""
    return name.split("[", 1)[0]


def cpu_seconds() -> float:
    """CPU seconds of this process and of the processes that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


class Times:
    """CPU seconds of tests and of fixtures."""

    def __init__(self) -> None:
        self.calls: dict[str, float] = {}
        self.fixtures: dict[tuple[str, str], float] = {}  # by folder or file and name
        self.users: dict[str, list[tuple[str, str]]] = {}  # the fixtures of each test

    def seconds(self) -> dict[str, float]:
        """Of every test, with its share of what its fixtures took."""
        uses = Counter(key for keys in self.users.values() for key in keys)
        shares = {key: seconds / max(1, uses[key]) for key, seconds in self.fixtures.items()}
        return {name: used + sum(shares.get(key, 0.0) for key in self.users[name]) for name, used in self.calls.items()}


def choose_slow(seconds: dict[str, float], limit: float = LIMIT) -> set[str]:
    """The lines for tests above the limit: a function where at least half of its cases are, else the cases."""
    cases: dict[str, list[str]] = defaultdict(list)
    for name in seconds:
        cases[function_of(name)].append(name)
    chosen: set[str] = set()
    for function, names in cases.items():
        slow = {name for name in names if seconds[name] > limit}
        chosen |= {function} if 2 * len(slow) >= len(names) else slow
    return chosen


def update_list(lines: set[str], seconds: dict[str, float], limit: float = LIMIT) -> list[str]:
    """The list after a run: lines of functions that were run are replaced, those of others stay."""
    measured = {function_of(name) for name in seconds}
    return sorted({line for line in lines if function_of(line) not in measured} | choose_slow(seconds, limit))


TIMES = Times()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-slow-list", action="store_true", help="measure the tests and update tests/slow.txt")


@pytest.hookimpl(tryfirst=True)  # before pytest takes out what -m leaves out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow = read_list()
    for item in items:
        name = name_of(item)
        if name in slow or function_of(name) in slow:
            item.add_marker("slow")


@pytest.hookimpl(hookwrapper=True)
def pytest_fixture_setup(fixturedef: Any) -> Iterator[None]:
    start = cpu_seconds()
    yield
    key = fixturedef.baseid, fixturedef.argname
    TIMES.fixtures[key] = TIMES.fixtures.get(key, 0.0) + cpu_seconds() - start


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    definitions = getattr(item, "_fixtureinfo", None)
    named = definitions.name2fixturedefs.values() if definitions else ()
    TIMES.users[name_of(item)] = [(defined[-1].baseid, defined[-1].argname) for defined in named]
    start = cpu_seconds()
    yield
    TIMES.calls[name_of(item)] = cpu_seconds() - start


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    slow, seconds = read_list(), TIMES.seconds()
    if config.getoption("--write-slow-list"):
        comments = [line for line in LIST.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
        LIST.write_text("\n".join([*comments, *update_list(slow, seconds)]) + "\n", encoding="utf-8")
        terminalreporter.write_line(f"{LIST} is up to date")
        return
    for name, used in seconds.items():
        if used > MUCH_SLOWER and not {name, function_of(name)} & slow:
            terminalreporter.write_line(f"{used:.1f} s of CPU time, not in tests/slow.txt: {name}")
