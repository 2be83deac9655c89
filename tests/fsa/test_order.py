"""The order inside fsa/: losses, then language, then lattices. No room imports a later one."""

import ast
from pathlib import Path

import pytest

import hainan_k2

PACKAGE = Path(hainan_k2.__file__).parent
FORBIDDEN = {
    "fsa/losses": ("hainan_k2.fsa.language", "hainan_k2.fsa.lattices"),
    "fsa/language": ("hainan_k2.fsa.losses", "hainan_k2.fsa.lattices"),
    "fsa/lattices": ("hainan_k2.fsa.losses",),
}


def imports(path):
    """The modules that a file imports, anywhere in it, with the names imported from packages."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", FORBIDDEN)
def test_no_room_imports_a_later_one(room):
    files = sorted((PACKAGE / room).glob("*.py"))
    assert files
    wrong = [(path.name, name) for path in files for name in imports(path) if name.startswith(FORBIDDEN[room])]
    assert not wrong


def test_searches_take_only_the_scores_of_given_texts_from_the_losses():
    names = [(path.name, name) for path in sorted((PACKAGE / "search").glob("*.py")) for name in imports(path)]
    allowed = tuple(
        f"hainan_k2.fsa.losses.{name}." for name in ("sequence_scores", "prefix_tree", "best_path", "logprobs")
    )
    of_losses = [(file, name) for file, name in names if name.startswith("hainan_k2.fsa.losses")]
    assert all(name.startswith(allowed) for _, name in of_losses), of_losses
