"""Reads mutated files, one after the other: `python -m tests.fsa.fuzz_files FOLDER SEED COUNT`.

Prints a line `number kind outcome` for each; anything but a success or a ValueError of one line ends the process, as a
crash in C++ would: the test that starts this looks at what was printed last.
"""

from __future__ import annotations

import random
import resource
import signal
import sys
from pathlib import Path

import torch

from hainan_k2.fsa.language.grammar import read_grammar
from hainan_k2.fsa.lattices.composition import compose
from hainan_k2.fsa.lattices.nar_lattice import nar_lattice
from hainan_k2.fsa.lattices.paths import hypotheses_from_lattice, shortest_path
from hainan_k2.fsa.lattices.store import load_lattice
from tests.oracles.grammar import LetterTokenizer

SECONDS, GIGABYTES = 10, 6  # of processor time and address space for a file
SPICE = (
    b"(",
    b")",
    b"[",
    b"]",
    b"|",
    b"*",
    b"+",
    b"{9}",
    b"{2,}",
    b":",
    b"$x",
    b"$sentence",
    b"/0.5",
    b"/nan",
    b"#",
    b'"',
    b"\n",
    b" ",
    b"-1",
    b"nan",
    b"inf",
    b"1e40",
    b"99999999999",
    b"\xff",
    b"\0",
    b"<eps>",
    b"0",
    b"7",
)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """One to four changes: a byte, a bit, a segment cut, doubled or overwritten, something of the notation put in."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at, size = rng.randrange(len(changed) + 1), rng.choice((1, 1, 2, 4, 8, 30))
        kind = rng.randrange(6)
        if kind == 0:
            changed[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del changed[at : at + size]
        elif kind == 3:
            changed[at:at] = changed[at : at + size]
        elif kind == 4:
            changed[at : at + size] = rng.choice((b"\0", b"\xff", b"\x7f")) * size
        else:
            changed[at:at] = rng.choice(SPICE)
    return bytes(changed)


def read(path: Path, tables: tuple) -> str:
    """What came of reading a file, and of decoding with it where that went well."""
    try:
        if path.name.startswith("lattice"):
            lattice, _ = load_lattice(path)
            lattice.get_tot_scores(use_double_scores=True, log_semiring=True)
            return "read"
        grammar = read_grammar(path, LetterTokenizer())
        *tables, lens, durations = tables
        composed = compose(nar_lattice(*tables, lens, durations, vocabulary=grammar.tokens()), grammar)
        hypotheses_from_lattice(shortest_path(composed), lens, composed)
        return "read"
    except ValueError as error:
        assert len(str(error).splitlines()) == 1 and str(error).strip(), repr(str(error))
        return f"refused: {error}"


def main(folder: str, seed: str, count: str) -> None:
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)  # ends the process
    limit = GIGABYTES << 30
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    torch.manual_seed(0)
    tables = [torch.randn(2, 6, n).log_softmax(-1) for n in (len(LetterTokenizer.pieces), 3)]
    tables += [torch.tensor([6, 3]), (0, 1, 3)]
    originals = sorted(path for path in Path(folder).iterdir() if path.is_file())
    for path in originals:
        assert read(path, tables) == "read", path
    rng = random.Random(int(seed))
    scratch = Path(folder) / "mutated"
    scratch.mkdir(exist_ok=True)
    for number in range(int(count)):
        original = originals[number % len(originals)]
        path = scratch / original.name
        path.write_bytes(mutate(original.read_bytes(), rng))
        print(number, original.name, end=" ", flush=True)
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        print(read(path, tables), flush=True)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
