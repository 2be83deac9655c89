"""The examples in the docstrings of frontend/, data/, formats/ and files/ give the results that they show."""

import doctest
import importlib
from pathlib import Path

import pytest

import hainan_k2

PACKAGE = Path(hainan_k2.__file__).parent
PATHS = [
    PACKAGE / "frames.py",
    *(p for r in ("frontend", "data", "formats", "files") for p in (PACKAGE / r).glob("*.py")),
]
NAMES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in PATHS if ">>>" in path.read_text()
)


@pytest.mark.parametrize("name", NAMES)
def test_examples(name, monkeypatch):
    monkeypatch.chdir(PACKAGE.parent)
    failed, attempted = doctest.testmod(importlib.import_module(name))
    assert attempted and not failed
