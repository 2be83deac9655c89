"""Files that run code when they are loaded carelessly, given to everything that takes a file: nothing is run."""

import ast
import os
import pickle
import shutil

import pytest
import torch

from hainan_k2 import decode, export, load_lattice, train, transcribe
from hainan_k2.formats.checkpoint import load_checkpoint
from hainan_k2.formats.nemo import read_nemo
from hainan_k2.formats.parakeet import read_parakeet
from hainan_k2.formats.whisper_weights import read_whisper
from hainan_k2.fsa.language.grammar import read_grammar
from hainan_k2.fsa.lattices.decoding_graph import DecodingGraph
from tests.hostile import hostile_files
from tests.oracles.grammar import LetterTokenizer
from tests.toy import ROOT, train_command

SUFFIXES = (".pt", ".safetensors", "")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    return hostile_files(folder / "files", folder / "harmed"), folder / "harmed"


def test_the_files_are_harmful(hostile):
    """Otherwise the tests below would show nothing."""
    (script, archive, raw), harmed = hostile
    for load in (
        lambda: torch.jit.load(str(script)),
        lambda: torch.load(archive, weights_only=False),
        lambda: pickle.loads(raw.read_bytes()),
    ):
        load()
        assert harmed.exists()
        harmed.unlink()


READERS = {
    "lattice": load_lattice,
    "checkpoint": load_checkpoint,
    "whisper": read_whisper,
    "nemo": lambda path: read_nemo(path).__enter__(),
    "parakeet": lambda path: read_parakeet(path).__enter__(),
    "grammar": lambda path: read_grammar(path, LetterTokenizer()),
    "graph": lambda path: DecodingGraph.read(path, ["a"]),
}


@pytest.mark.parametrize("reader", READERS)
def test_readers(hostile, tmp_path, reader):
    files, harmed = hostile
    for file in files:
        for suffix in (*SUFFIXES, ".nemo", ".whl", ".txt"):
            path = tmp_path / f"evil{suffix}"
            shutil.copy(file, path)
            with pytest.raises(ValueError, match="evil") as error:
                READERS[reader](path)
            assert "\n" not in str(error.value)
            path.unlink()
    assert not harmed.exists() and os.listdir(tmp_path) == []


def exits_with_2(capsys, main, arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    err = capsys.readouterr().err
    assert stopped.value.code == 2 and err.count(": error: ") == 1 and "evil" in err.splitlines()[-1], err
    return err


@pytest.mark.parametrize("option", ["grammar", "graph"])
def test_transcribe(hostile, tmp_path, capsys, option):
    pytest.importorskip("k2")
    files, harmed = hostile
    for file in files:
        for suffix in SUFFIXES:
            shutil.copy(file, tmp_path / f"evil{suffix}")
            exits_with_2(
                capsys,
                transcribe.main,
                [ROOT / "tests/data/jfk.flac", "--method", option, f"--{option}", tmp_path / f"evil{suffix}"],
            )
    assert not harmed.exists()


@pytest.mark.parametrize("command", ["decode", "export", "train", "train --init-from"])
def test_experiments(hostile, toy, tmp_path, capsys, command):
    files, harmed = hostile
    for file in files:
        for name in ("epoch-1.safetensors", "last.safetensors", "epoch-1.pt", "last.pt"):
            exp = tmp_path / f"evil-{file.name}-{name}"
            exp.mkdir()
            shutil.copy(file, exp / name)
            if command == "decode":
                exits_with_2(
                    capsys, decode.main, ["--exp-dir", exp, "--cuts", toy / "dev.jsonl.gz", "--lang-dir", toy / "lang"]
                )
            elif command == "export":
                exits_with_2(
                    capsys, export.main, ["--exp-dir", exp, "--lang-dir", toy / "lang", "--out-dir", exp / "m"]
                )
            elif command == "train":
                exits_with_2(
                    capsys,
                    train.main,
                    train_command(
                        tmp_path,
                        exp.name,
                        "--train-cuts",
                        str(toy / "train.jsonl.gz"),
                        "--dev-cuts",
                        str(toy / "dev.jsonl.gz"),
                        "--lang-dir",
                        str(toy / "lang"),
                    ),
                )
            else:
                exits_with_2(capsys, train.main, train_command(toy, "none", "--init-from", str(exp / name)))
            assert not harmed.exists() and not (exp / "m").exists()


FORBIDDEN = {"torch": ("load", "jit", "package", "hub"), "yaml": ("load", "load_all", "unsafe_load", "full_load")}
MODULES = ("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve")
ALIASES = {"np": "numpy"}


def loaders(source):
    """(line, name) of what could run code that a file contains."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            for name in names:
                if name.split(".")[0] in MODULES or name.startswith("torch.jit"):
                    yield node.lineno, name
            if isinstance(node, ast.ImportFrom) and node.module in FORBIDDEN:
                yield from ((node.lineno, a.name) for a in node.names if a.name in FORBIDDEN[node.module])
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = ALIASES.get(node.value.id, node.value.id)
            if node.attr in FORBIDDEN.get(module, ()) or module in MODULES:
                yield node.lineno, f"{module}.{node.attr}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"):
            yield node.lineno, node.func.id
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            yield node.lineno, "allow_pickle"


def test_no_file_of_the_repository_has_another_loader():
    paths = [path for folder in ("hainan_k2", "lang", "recipes") for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(paths) > 100
    found = [f"{path.relative_to(ROOT)}:{line}: {name}" for path in paths for line, name in loaders(path.read_text())]
    assert not found, "use hainan_k2.files: " + ", ".join(found)
    code = "import pickle\nfrom torch import load\ntorch.load(x)\ntorch.jit.load(x)\neval(x)\nload(x, allow_pickle=1)"
    assert sorted(line for line, _ in loaders(code)) == [1, 2, 3, 4, 5, 6]
