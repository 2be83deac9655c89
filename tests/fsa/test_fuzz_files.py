"""560 damaged files: each is read or refused in one line, without a crash, an endless loop or a C++ trace."""

import subprocess
import sys
from collections import Counter

import pytest
import torch

from hainan_k2 import nar_lattice, read_grammar, save_lattice
from tests.fsa.lattices.test_nar_lattice import tables
from tests.oracles.grammar import LetterTokenizer
from tests.toy import ROOT

pytest.importorskip("k2")
kaldifst = pytest.importorskip("kaldifst")

TEXT = """# everything that the notation has
sentence: $x{1,3} [b | c /0.5] : out | (a | ab)+ c* /2
x: a b : 1@@ | c{2}
   | (ac
   [b] : "(2)")
"""


@pytest.fixture
def originals(tmp_path):
    (tmp_path / "text.grammar").write_text(TEXT)
    read_grammar(tmp_path / "text.grammar", LetterTokenizer()).save(tmp_path / "saved.safetensors")
    symbols = kaldifst.SymbolTable.from_str("<eps> 0\nab 1\nc 2\nx 3\n")
    text = "0 1 ab x 0.5\n1 2 <eps> <eps> 1.25\n1 1 c x\n2 0.25\n"
    (tmp_path / "openfst.txt").write_text(text)
    fst = kaldifst.compile(text, isymbols=symbols, osymbols=symbols, keep_isymbols=True, keep_osymbols=True)
    fst.write(str(tmp_path / "vector.fst"))
    kaldifst.StdConstFst(fst).write(str(tmp_path / "const.fst"))
    lattice = nar_lattice(*tables(1, [4, 2], 3, (1, 2)), torch.tensor([4, 2]), (1, 2))
    save_lattice(lattice, tmp_path / "lattice.safetensors")
    save_lattice(lattice, tmp_path / "lattice.txt")
    save_lattice(lattice, tmp_path / "lattice.pt")
    return tmp_path


def test_mutations(originals):
    command = [sys.executable, "-m", "tests.fsa.fuzz_files", str(originals), "7", "560"]
    shown = subprocess.run(command, capture_output=True, cwd=ROOT, timeout=900)
    lines = shown.stdout.decode("utf-8", "replace").splitlines()
    assert shown.returncode == 0, f"after {lines[-1:]}: {shown.stderr.decode('utf-8', 'replace')[-2000:]}"
    assert b"Stack-Trace" not in shown.stderr
    assert len(lines) == 560
    outcomes = Counter((line.split()[1], line.split()[2]) for line in lines)
    for name in sorted(path.name for path in originals.iterdir() if path.is_file()):
        assert outcomes[name, "refused:"] >= 20, outcomes
    assert sum(count for (_, outcome), count in outcomes.items() if outcome == "read") >= 20
