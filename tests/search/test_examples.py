"""The examples in the docstrings of the searches."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["greedy", "methods", "sweep"])
def test_examples(name):
    failed, attempted = doctest.testmod(importlib.import_module(f"hainan_k2.search.{name}"))
    assert attempted and not failed
