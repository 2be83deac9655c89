"""What the README shows is true: its code runs, its table lists every method."""

import re
import subprocess
import sys

import pytest

import hainan_k2
from hainan_k2 import METHODS
from hainan_k2.text.tokenizer import Tokenizer
from tests.toy import ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, flags=re.M | re.S)  # (language, content)


def test_the_table_lists_every_method():
    rows = re.findall(r"^\| `([a-z][a-z-]*)` \|.*\|(.*)\|$", TEXT, flags=re.M)
    assert {name: bool(k2.strip()) for name, k2 in rows} == {m.name: m.needs_k2 for m in METHODS.values()}


def test_the_examples_run():
    """Copied one after another into a fresh Python, in the folder of the repository."""
    _, lattice, composed, loss = (block for language, block in BLOCKS if language == "python")
    subprocess.run([sys.executable, "-c", loss], check=True, cwd=ROOT)
    pytest.importorskip("k2")
    checks = """
assert hypotheses[0].ids.count(c) == len(hypotheses[0].ids) > 2
assert texts[0].text.startswith("and so") and texts[0].words[0].start < 0.5
"""
    code = "\n".join([lattice, "texts = hypotheses", composed, loss, "assert torch.isfinite(loss)", checks])
    shown = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True)
    assert "Word(text='and', start=" in shown.stdout
    assert len(composed.splitlines()) < 15


def test_the_five_line_grammar_is_one(tmp_path):
    (text,) = (block for _, block in BLOCKS if block.startswith("sentence:"))
    (tmp_path / "digits.grammar").write_text(text)
    assert len(text.splitlines()) == 5
    (tmp_path / "digits.txt").write_text("zero oh one two three four five six seven eight nine\n" * 9)
    subprocess.run(
        [
            sys.executable,
            ROOT / "lang" / "train_bpe.py",
            "--text",
            tmp_path / "digits.txt",
            "--vocab-size",
            "40",
            "--lang-dir",
            tmp_path,
        ],
        check=True,
        capture_output=True,
    )
    grammar = hainan_k2.read_grammar(str(tmp_path / "digits.grammar"), Tokenizer(tmp_path))
    assert grammar.transduces and {"1@@", "9@@"} <= set(grammar.outputs)
