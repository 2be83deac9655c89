"""Every numeric option of every command has bounds, so that an absurd value is refused at once."""

from __future__ import annotations

import ast

import pytest

from tests.toy import ROOT

# Any finite number makes sense.
UNBOUNDED = {"blank_penalty", "token_bonus", "length_bonus", "peak"}
BOUNDS = {"at_least", "above", "at_most", "below"}


def options(path):
    """(name, annotation, keywords) of every option that a file defines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        call = node.value if isinstance(node, ast.AnnAssign) else None
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "option":
            yield node.target.id, ast.unparse(node.annotation), {keyword.arg for keyword in call.keywords}


FILES = [
    path
    for folder in ("hainan_k2", "lang", "recipes")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if any(options(path))
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_number_has_bounds(path):
    numbers = {
        name: keywords for name, annotation, keywords in options(path) if "int" in annotation or "float" in annotation
    }
    bare = sorted(name for name, keywords in numbers.items() if not keywords & BOUNDS and name not in UNBOUNDED)
    assert not bare, f"{path}: {', '.join(bare)}: give option() at_least, above, at_most or below"


def test_there_are_options():
    assert len(FILES) > 15
