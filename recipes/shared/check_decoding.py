"""Refuses, before a recipe trains, the --method and --decode-args that decode.py would refuse afterwards.

    python check_decoding.py RECIPE MADE --method METHODS [decode.py's options]

MADE names what the recipe itself makes, "lm" or "graph". A line of refusal bears the name RECIPE; the exit code is 2.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hainan_k2.cli import fail, parse
from hainan_k2.decode import DecodeConfig
from hainan_k2.fsa.language.grammar_files import find_grammar
from hainan_k2.search import METHODS, check_methods
from hainan_k2.search.resources import ResourceConfig
from hainan_k2.search.sweep import SearchGrid


def check(methods: tuple[str, ...], made: list[str], files: ResourceConfig) -> None:
    """ValueError on unknown methods, on what one needs and nobody gives, and on files that are not there."""
    check_methods(methods)
    for method in methods if methods != ("all",) else ():
        for need in METHODS[method].needs:
            if need not in made and not getattr(files, need):
                raise ValueError(f"--method {method} needs --decode-args '--{need.replace('_', '-')} FILE'")
    for name, value in dataclasses.asdict(files).items():
        path = find_grammar(value) if name == "grammar" and value else Path(value)
        if value and not path.is_file():
            raise ValueError(f"no such file: --{name.replace('_', '-')} {value} of --decode-args")


def main() -> None:
    sys.argv[0], made, *argv = sys.argv[1:]
    config, _, files = parse(argv, "", DecodeConfig, SearchGrid, ResourceConfig)
    try:
        check(config.method, made.split(), files)
    except ValueError as error:
        fail(str(error))


if __name__ == "__main__":
    main()
