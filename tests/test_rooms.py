"""The order of the rooms: a module imports only from its own room and from the rooms before it, and never in a circle.

The import graph is read from the source of every file, imports inside functions and under TYPE_CHECKING included. The
order is that of hainan_k2/README.md. formats/ stands before inference/, because Recognizer.load reads model
directories, and nothing in formats/ runs a model on audio.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.toy import ROOT

ORDER = (
    "ground floor",
    "text",
    "frontend",
    "data",
    "model",
    "fsa",
    "fsa/losses",
    "fsa/language",
    "fsa/lattices",
    "fsa/__init__",  # the public names of the room
    "search",
    "formats",
    "inference",
    "scoring",
    "tuning",
    "training",
    "report",
    "server",
    "bench",
    "lang",
    "commands",
)
LONGEST = 300  # lines
K2 = ("k2", "_k2")


def room_of(path: str) -> str:
    """The room of a file: "fsa/k2.py" -> "fsa", "fsa/losses/tdt.py" -> "fsa/losses", "cli.py" -> "ground floor"."""
    folder, _, name = path.rpartition("/")
    if path == "fsa/__init__.py":
        return "fsa/__init__"
    if folder in ORDER:
        return folder
    if folder == "files":
        return "ground floor"
    if folder:
        return folder.split("/")[0]
    return "commands" if name == "__init__.py" or is_command(path) else "ground floor"


def is_command(path: str) -> bool:
    return "__main__" in (ROOT / "hainan_k2" / path).read_text(encoding="utf-8")


def read_package(root: Path) -> dict[str, str]:
    """The source of every file of a package, by its path in the package."""
    return {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in sorted(root.rglob("*.py"))}


def imported_modules(source: str) -> list[tuple[str, str, int]]:
    """Every import in a source, wherever it stands: (module, name imported from it or "", line)."""
    imports = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imports += [(alias.name, "", node.lineno) for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            imports += [(node.module, alias.name, node.lineno) for alias in node.names]
    return imports


def file_of(module: str, name: str, sources: dict[str, str], package: str) -> str | None:
    """The file of the package that an import leads to; None for another package and for hainan_k2.__version__."""
    if module.split(".")[0] != package or (module, name) == (package, "__version__"):
        return None
    for dotted in (f"{module}.{name}", module):
        path = "/".join(dotted.split(".")[1:])
        for candidate in (f"{path}/__init__.py".lstrip("/"), f"{path}.py"):
            if candidate in sources:
                return candidate
    raise AssertionError(f"{module}.{name} is no module of {package}")


def draw(sources: dict[str, str], package: str = "hainan_k2") -> dict[str, dict[str, int]]:
    """The import graph: for every file, the files that it imports and the line where it does."""
    graph: dict[str, dict[str, int]] = {}
    for path, source in sources.items():
        arrows = [(file_of(module, name, sources, package), line) for module, name, line in imported_modules(source)]
        graph[path] = {target: line for target, line in arrows if target is not None and target != path}
    return graph


def find_cycle(graph: dict[str, dict[str, int]]) -> list[str]:
    """The files of one circle of imports, the first one repeated at its end; empty where there is none."""
    done: set[str] = set()

    def visit(path: str, trail: list[str]) -> list[str]:
        if path in trail:
            return [*trail[trail.index(path) :], path]
        if path in done:
            return []
        for target in graph[path]:
            cycle = visit(target, [*trail, path])
            if cycle:
                return cycle
        done.add(path)
        return []

    return next((cycle for path in graph if (cycle := visit(path, []))), [])


SOURCES = read_package(ROOT / "hainan_k2")
GRAPH = draw(SOURCES)


def test_every_file_is_in_a_room_of_the_order():
    assert not {path: room_of(path) for path in SOURCES if room_of(path) not in ORDER}


def test_imports_lead_to_rooms_before():
    backward = [
        f"{path}:{line} ({room_of(path)}) imports {target} ({room_of(target)})"
        for path, arrows in GRAPH.items()
        for target, line in arrows.items()
        if ORDER.index(room_of(target)) > ORDER.index(room_of(path))
    ]
    assert not backward, "\n".join(backward)


def test_no_modules_import_each_other():
    assert not find_cycle(GRAPH), " -> ".join(find_cycle(GRAPH))


def test_only_fsa_imports_k2():
    offenders = [
        f"{path}:{line} imports {module}"
        for path, source in SOURCES.items()
        for module, _, line in imported_modules(source)
        if module.split(".")[0] in K2 and not path.startswith("fsa/")
    ]
    assert not offenders, "\n".join(offenders)


def test_only_one_file_finds_out_whether_k2_works():
    """`import k2` at the top of a file would fail where k2 is missing: fsa/k2.py imports it in a function."""
    offenders = [
        f"{path}:{node.lineno}"
        for path, source in SOURCES.items()
        for node in ast.parse(source).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
        if (node.module if isinstance(node, ast.ImportFrom) else alias.name).split(".")[0] in K2
    ]
    assert not offenders, "\n".join(offenders)


@pytest.mark.parametrize("folder", ["hainan_k2", "lang", "recipes", "tests"])
def test_no_file_is_long(folder):
    lengths = {path: source.count("\n") for path, source in read_package(ROOT / folder).items()}
    too_long = {path: lines for path, lines in lengths.items() if lines > LONGEST}
    assert not too_long, f"more than {LONGEST} lines in {folder}: {too_long}"


# The checks themselves, on a package of four files.
TINY = {
    "__init__.py": "",
    "a/__init__.py": "",
    "a/one.py": "def f():\n    from tiny.b import two\n    import os.path",
    "b/two.py": "from tiny.a.one import f\nfrom tiny import __version__",
}


def test_an_import_in_a_function_is_an_arrow():
    assert draw(TINY, "tiny") == {
        "__init__.py": {},
        "a/__init__.py": {},
        "a/one.py": {"b/two.py": 2},
        "b/two.py": {"a/one.py": 1},
    }


def test_a_circle_is_found():
    assert find_cycle(draw(TINY, "tiny")) == ["a/one.py", "b/two.py", "a/one.py"]
    assert not find_cycle(draw({**TINY, "b/two.py": "import os"}, "tiny"))


def test_an_import_of_no_module_is_found():
    with pytest.raises(AssertionError, match=r"tiny\.c\.f is no module"):
        draw({**TINY, "b/two.py": "from tiny.c import f"}, "tiny")
