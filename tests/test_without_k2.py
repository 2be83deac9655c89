"""Without k2, everything that needs no lattice works, and everything else reports the reason."""

from __future__ import annotations

import os
import subprocess
import sys
import types

import pytest

from hainan_k2.fsa.k2 import load_k2, why_no_k2
from tests.toy import ROOT, train_command

# Python runs sitecustomize when it starts: with this one no finder knows k2, as where it is not installed.
HIDE_K2 = """
import importlib.machinery
import sys


class FinderWithoutK2(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in ("k2", "_k2") else super().find_spec(name, path, target)


sys.meta_path = [FinderWithoutK2 if f is importlib.machinery.PathFinder else f for f in sys.meta_path]
"""

# By kind of installation: the source of k2/__init__.py, None where there is no such package, and the reason reported.
KINDS = {
    "missing": (None, "k2 is not installed"),
    "for another Python": (
        "import _k2_of_another_python",
        "k2 is installed but cannot be imported (ModuleNotFoundError: No module named '_k2_of_another_python')",
    ),
    "for another torch": (
        "raise ImportError('k2 was built using PyTorch 1.5.0\\nBut you are using PyTorch 2.13.0')",
        "k2 is installed but cannot be imported (ImportError: k2 was built using PyTorch 1.5.0 "
        "But you are using PyTorch 2.13.0)",
    ),
}


class Without:
    """Runs commands where k2 is not installed, or raises when it is imported."""

    def __init__(self, folder, kind):
        code, reason = KINDS[kind]
        self.reason = f"{reason}: take its wheel for exactly torch "
        if code is None:
            (folder / "sitecustomize.py").write_text(HIDE_K2)
        else:
            (folder / "k2").mkdir()
            (folder / "k2" / "__init__.py").write_text(code + "\n")
        self.folder, self.path = folder, os.pathsep.join([str(folder), str(ROOT)])

    def run(self, *words):
        return subprocess.run(
            [sys.executable, *map(str, words)],
            text=True,
            capture_output=True,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": self.path},
        )

    def command(self, name, *arguments):
        return self.run("-c", f"from hainan_k2.{name} import main; main()", *arguments)


@pytest.fixture(params=KINDS)
def without(request, tmp_path):
    return Without(tmp_path, request.param)


@pytest.fixture(scope="module")
def trained(toy, tmp_path_factory):
    """An experiment folder in toy/, trained where k2 is missing."""
    without = Without(tmp_path_factory.mktemp("missing"), "missing")
    shown = without.command("train", *train_command(toy, "no-k2", "--num-epochs", "1"))
    assert shown.returncode == 0, shown.stderr
    assert shown.stderr.count(f"the losses take backend='torch': {without.reason}") == 1  # not once a batch
    return toy / "no-k2"


def test_train_and_decode(without, toy, trained):
    shown = without.command(
        "decode",
        "--exp-dir",
        trained,
        "--cuts",
        toy / "dev.jsonl.gz",
        "--lang-dir",
        toy / "lang",
        "--method",
        "all",
        "--num-workers",
        "0",
        "--report",
        without.folder / "page.html",
    )
    assert shown.returncode == 0, shown.stderr
    assert all(
        method in shown.stdout for method in ("ar-greedy", "ar-beam", "nar-greedy", "sar", "ctc-greedy", "viterbi")
    )
    assert f"4 of 11 methods are left out, nbest, nbest-ar, rescore, mbr: {without.reason}" in shown.stderr
    assert f"the page has no lattices: {without.reason}" in shown.stderr


@pytest.mark.parametrize(
    "name, arguments, start",
    [
        ("decode", ("--method", "nbest", "--exp-dir", "none"), "method nbest needs k2"),
        ("transcribe", ("none.wav", "--method", "nbest"), "method nbest needs k2"),
    ],
)
def test_what_needs_k2_says_so_in_one_line(without, name, arguments, start):
    shown = without.command(name, *arguments)
    assert shown.returncode == 2 and shown.stderr.count("\n") == 1, shown.stderr
    assert f"{start}: {without.reason}" in shown.stderr


def test_a_training_that_asks_for_k2_says_so(without, toy):
    shown = without.command("train", *train_command(toy, "wants-k2", "--num-epochs", "1", "--backend", "k2"))
    assert shown.returncode == 2 and f"backend='k2': {without.reason}" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_a_graph_that_is_to_be_compiled_says_so(without):
    shown = without.run(ROOT / "lang" / "compile_graph.py", "--lang-dir", "lang", "--g", "G.fst.txt", "--out-dir", ".")
    assert shown.returncode == 2 and f"compiling a graph needs k2: {without.reason}" in shown.stderr


LIBRARY = """
import torch, hainan_k2
frames = torch.zeros(1, 2, 3).log_softmax(-1), torch.zeros(1, 2, 2).log_softmax(-1), torch.tensor([2]), (0, 1)
loss = torch.zeros(1, 2, 2, 3 + 2), torch.tensor([[1]]), torch.tensor([2]), torch.tensor([1]), (0, 1)
print(float(hainan_k2.tdt_loss(*loss)), float(hainan_k2.tdt_loss(*loss)))
for call in (lambda: hainan_k2.tdt_loss(*loss, backend="k2"), lambda: hainan_k2.nar_lattice(*frames),
             lambda: hainan_k2.shortest_path(None), lambda: hainan_k2.load_lattice("none.fst.txt")):
    try:
        call()
    except ValueError as error:
        print(error)
"""


def test_a_hidden_k2_is_one_that_is_not_installed(tmp_path):
    shown = Without(tmp_path, "missing").run(
        "-c", "import importlib.util as u; print(u.find_spec('k2'), u.find_spec('_k2')); import k2"
    )
    assert shown.stdout == "None None\n" and "ModuleNotFoundError: No module named 'k2'" in shown.stderr


def test_functions_raise_the_reason_and_warn_once(without):
    (without.folder / "none.fst.txt").write_text("a\n0 1 5 0.5\n1 0.0\n\n")
    shown = without.run("-c", LIBRARY)
    assert shown.returncode == 0, shown.stderr
    assert shown.stderr.count("\n") == 1 and f"the losses take backend='torch': {without.reason}" in shown.stderr
    losses, *reasons = shown.stdout.splitlines()
    assert all(float(loss) > 0 for loss in losses.split())
    assert len(reasons) == 4 and all(without.reason in line for line in reasons), shown.stdout


def test_a_folder_of_the_name_is_no_k2(monkeypatch):
    """Python imports any folder on its path as an empty package, where there is no other of the name."""
    empty = types.ModuleType("k2")
    empty.__path__ = ["somewhere/k2"]
    monkeypatch.setitem(sys.modules, "k2", empty)
    assert why_no_k2.__wrapped__().startswith("somewhere/k2 is not the k2 of k2-fsa: take its wheel")


def test_where_k2_works_it_is_loaded():
    k2 = pytest.importorskip("k2")
    assert not why_no_k2() and load_k2() is k2
