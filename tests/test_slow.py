"""The list of slow tests: its lines name tests that exist, and it is made from measured times."""

import ast

import pytest

from tests.slow import Times, choose_slow, function_of, read_list, update_list
from tests.toy import ROOT


def functions_in(path):
    return {node.name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if hasattr(node, "name")}


def test_every_line_names_a_test():
    missing = []
    for line in sorted(read_list()):
        file, *names = function_of(line).split("::")
        path = ROOT / "tests" / file
        if not path.is_file() or not names or set(names) - functions_in(path):
            missing.append(line)
    assert not missing, "not in the tests any more (tests/run.sh --write-slow-list):\n" + "\n".join(missing)


def test_a_fixture_counts_for_those_who_use_it():
    times = Times()
    times.calls = {"a.py::one": 0.1, "a.py::two": 0.2, "b.py::three": 0.1}
    times.fixtures = {("a.py", "trained"): 4.0}
    times.users = {"a.py::one": [("a.py", "trained")], "a.py::two": [("a.py", "trained")], "b.py::three": []}
    assert times.seconds() == pytest.approx({"a.py::one": 2.1, "a.py::two": 2.2, "b.py::three": 0.1})


def test_a_function_is_listed_where_half_of_its_cases_are_slow():
    seconds = {"a.py::f[1]": 2.0, "a.py::f[2]": 0.0, "a.py::g[1]": 2.0, "a.py::g[2]": 0.0, "a.py::g[3]": 0.0}
    assert choose_slow(seconds, limit=1.0) == {"a.py::f", "a.py::g[1]"}


def test_what_was_not_run_stays_in_the_list():
    lines = {"a.py::f", "a.py::g[1]", "b.py::h"}
    assert update_list(lines, {"a.py::f": 0.0, "a.py::g[1]": 0.0, "a.py::g[2]": 9.0}, limit=1.0) == [
        "a.py::g",
        "b.py::h",
    ]
