"""The commands of lang/README.md run as they are written, one after the other."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hainan_k2.fsa.language.grammar import read_grammar
from hainan_k2.text import Tokenizer
from tests.fsa.language.grammars import outputs_of
from tests.toy import ROOT

GUIDE = (ROOT / "lang" / "README.md").read_text(encoding="utf-8")


def test_every_command_runs(tmp_path):
    pytest.importorskip("k2")
    pytest.importorskip("kaldingram")
    for name in ("hainan_k2", "lang", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    commands = "\n".join(re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL))
    assert {name for name in re.findall(r"python lang/(\w+)\.py", GUIDE)} == {
        path.stem for path in (ROOT / "lang").glob("*.py") if path.stem != "train_bpe"
    }
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    shown = subprocess.run(["bash", "-ec", commands], cwd=tmp_path, env=env, text=True, capture_output=True)
    assert shown.returncode == 0, shown.stderr
    assert len((tmp_path / "lm" / "home.txt").read_text().splitlines()) == 500
    assert "outside the grammar" in shown.stdout + shown.stderr


def test_the_grammar_of_the_guide_writes_digits(tmp_path):
    (text,) = re.findall(r"```\n(# digits.grammar\n.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "digits.grammar").write_text(text)
    tokenizer = Tokenizer(ROOT / "hainan_k2" / "released")
    grammar = read_grammar(tmp_path / "digits.grammar", tokenizer)
    assert {output.replace(" ", "") for output in outputs_of(grammar, tokenizer.encode("four two seven"))} == {"427"}
