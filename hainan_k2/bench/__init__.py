"""Benchmarks of losses and searches, time and memory: `python hainan_k2/bench.py loss --help`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from hainan_k2 import __version__
from hainan_k2.cli import fail

COMMANDS = {  # name: (module whose main(argv) runs it, what it measures)
    "decode": (
        "hainan_k2.bench.decode",
        "decoding with every method: time of encoder and search, memory of the search",
    ),
    "lm": ("hainan_k2.bench.lm", "decoding with an n-gram language model: time and memory"),
    "loss": ("hainan_k2.bench.loss", "training losses, full and pruned, on k2 and torch: time and memory"),
    "plan": ("hainan_k2.bench.plan", "training on many processes, simulated with the measured rates"),
    "rates": ("hainan_k2.bench.rates", "rates that decide how training and decoding scale"),
    "rejection": (
        "hainan_k2.bench.rejection",
        "rejection of speech outside a grammar: error rates by threshold",
    ),
    "speculative": (
        "hainan_k2.bench.speculative",
        "AR greedy search: speculative decoding and label-looping, CPU time",
    ),
}


def main(argv: Optional[Sequence[str]] = None) -> None:
    argv = sys.argv[1:] if argv is None else list(argv)
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: bench.py COMMAND [--help | options]\n")
        print("\n".join(f"  {name:13s}{words}" for name, (_, words) in COMMANDS.items()))
        raise SystemExit(0 if argv else 2)
    if argv[0] == "--version":
        print(f"{Path(sys.argv[0]).name} {__version__}")
        return
    if argv[0] not in COMMANDS:
        fail(f"no command {argv[0]!r}; there are {', '.join(COMMANDS)}")
    importlib.import_module(COMMANDS[argv[0]][0]).main(argv[1:])
