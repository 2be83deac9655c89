"""Checks --method and --decode-args before a recipe trains, so that decode.py does not fail after the training.

    python check_decoding.py RECIPE MADE TUNE --method METHODS [options of decode.py]

MADE lists the resources that the recipe makes itself: "lm", "graph"; TUNE the methods whose weights are tuned. An error
is one line, starts with RECIPE, and ends the program with exit code 2.
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
from hainan_k2.tune import TuneConfig, first_options
from hainan_k2.tuning.axes import axes_of


def check(methods: tuple[str, ...], made: list[str], files: ResourceConfig) -> None:
    """Check that the methods exist, that each has the resources it needs, and that the given files exist.

    Raises:
      ValueError: if one of these does not hold.
    """
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
    sys.argv[0], made, tuned, *argv = sys.argv[1:]
    config, _, files = parse(argv, "", DecodeConfig, SearchGrid, ResourceConfig)
    try:
        check(config.method, made.split(), files)
        for method in filter(None, tuned.split(",")):
            given = [*made.split(), *(name for name, value in dataclasses.asdict(files).items() if value)]
            if method not in config.method and config.method != ("all",):
                raise ValueError(f"--tune {method}: it is not in --method {','.join(config.method)}")
            axes_of(METHODS[method], given)
            arguments = [*argv, "--cuts=-", "--out=-", f"--method={method}"]
            first_options(method, parse(arguments, "", TuneConfig, SearchGrid, ResourceConfig)[1])
    except ValueError as error:
        fail(str(error))


if __name__ == "__main__":
    main()
