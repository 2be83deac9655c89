"""What --help shows of the methods: all of them with a line each, or the options of those that are asked for.

transcribe.py --help                        the methods
transcribe.py --method viterbi-lm --help    the options and resources of viterbi-lm
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from hainan_k2.cli import HelpPage
from hainan_k2.search.choosing import ALL
from hainan_k2.search.method import Method
from hainan_k2.search.methods import METHODS
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import ResourceConfig

PARTS = {"grammar": ("isymbols", "osymbols")}  # options that go with a resource
FILES = {"lm": "lm.arpa", "graph": "LG.safetensors", "grammar": "digits"}  # in examples


def help_page(argv: Sequence[str], prog: str, example: str) -> HelpPage:
    """The page for the methods that `argv` names behind --method.

    Args:
      argv: the words of the command line.
      prog: the name of the command.
      example: words that it needs beside those of a method; without them the page has no example.
    Raises:
      ValueError: for a name that is no method.
    """
    names = named_methods(argv)
    unknown = [name for name in names if name not in METHODS and (name,) != ALL]
    if unknown:
        raise ValueError(f"no method {unknown[0]!r}; there are {', '.join(METHODS)}, and all")
    chosen = [METHODS[name] for name in (METHODS if tuple(names) == ALL else names)]
    takers = {
        **{f.name: [m.name for m in chosen if f.name in m.options] for f in fields(SearchConfig)},
        **{f.name: [m.name for m in chosen if f.name in _resources(m)] for f in fields(ResourceConfig)},
    }
    return HelpPage(
        hidden=frozenset(name for name, methods in takers.items() if not methods),
        notes={name: note for name, methods in takers.items() if (note := _note(name, methods, chosen))},
        epilog=_list(chosen) + _example(prog, example, names),
    )


def named_methods(argv: Sequence[str]) -> list[str]:
    """The methods behind the last --method, none where it is not given."""
    names = ""
    for word, value in zip(argv, [*argv[1:], ""]):
        if word == "--method":
            names = value
        elif word.startswith("--method="):
            names = word.partition("=")[2]
    return [name for name in names.replace(" ", "").split(",") if name and not name.startswith("-")]


def _note(option: str, takers: Sequence[str], chosen: Sequence[Method]) -> str:
    """Which of the chosen methods take an option, and which have a default of their own for it."""
    parts = [f"for {', '.join(takers)}"] if len(takers) < len(chosen) else []
    own: dict[float, list[str]] = {}
    for method in chosen:
        if option in method.defaults:
            own.setdefault(method.defaults[option], []).append(method.name)
    parts += [f"{value:g} if not given for {', '.join(names)}" for value, names in own.items()]
    return "; ".join(parts)


def _resources(method: Method) -> tuple[str, ...]:
    names = method.needs + method.uses
    return names + tuple(part for name in names for part in PARTS.get(name, ()))


def _list(chosen: Sequence[Method]) -> str:
    """A line for each of the chosen methods, or all where none is."""
    title = "methods:" if chosen else "methods (--method NAME --help shows the options of one):"
    width = max(map(len, METHODS))
    lines = []
    for method in chosen or METHODS.values():
        needs = [*(["k2"] if method.needs_k2 else []), *("--" + need.replace("_", "-") for need in method.needs)]
        note = f"; needs {' and '.join(needs)}" if needs else ""
        lines.append(f"  {method.name:{width}s}  {method.description}{note}")
    return "\n".join([title, *lines])


def _example(prog: str, example: str, names: Sequence[str]) -> str:
    if not example:
        return ""
    needs = dict.fromkeys(need for name in names if name in METHODS for need in METHODS[name].needs)
    words = [prog, example, "--method", ",".join(names or ("ar-greedy", "sar"))]
    words += [f"--{need.replace('_', '-')} {FILES[need]}" for need in needs]
    return "\n\nexample:\n  " + " ".join(words)
