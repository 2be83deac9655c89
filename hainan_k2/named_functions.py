"""Python functions that the user names on a command line as module:function.

A file may name such a function too: the tokenizer of a model, which says how its texts are normalised. But a file never
makes a program import anything, so its name only finds a function that the user has named.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable
from typing import Any

_ALLOWED: dict[str, Callable[[str], str]] = {}


def is_function_name(name: str) -> bool:
    """Whether a name has the form module:function, such as rules.german:normalise."""
    return len(name) <= 200 and re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", name) is not None


def allow_function(name: str) -> Callable[[str], str]:
    """Import the function module:function, from the working directory or an installed package, for this process.

    Only for names that the user has given. Raises ValueError where there is no such function.
    """
    if not is_function_name(name):
        raise ValueError(f"{name!r} is not a function as module:function, e.g. rules:german")
    module, function = name.split(":")
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.append(folder)  # at the end: a file there hides no other module
    try:
        value: Any = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise ValueError(f"{name}: no such function: {error}") from None
    except Exception as error:  # the user's code may raise anything
        raise ValueError(f"{name}: importing {module} fails: {type(error).__name__}: {error}") from error
    if not callable(value):
        raise ValueError(f"{name} is no function")
    _ALLOWED[name] = value
    return _ALLOWED[name]


def allowed_function(name: str) -> Callable[[str], str]:
    """The function of that name. Raises ValueError where the user has not named it."""
    if name not in _ALLOWED:
        raise ValueError(
            f"texts are normalised by {name}, a Python function, and a file does not make this program import one: "
            f"if you trust it, give --normalise {name}, or call hainan_k2.text.allow_function({name!r})"
        )
    return _ALLOWED[name]
