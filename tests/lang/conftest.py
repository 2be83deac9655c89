"""Runs the commands of lang/, and a folder of what they make."""

import importlib
import random
import subprocess
import sys

import pytest

from recipes.shared.chords import WORDS
from tests.toy import ROOT


def run(command, *options):
    return subprocess.run(
        [sys.executable, ROOT / "lang" / f"{command}.py", *map(str, options)], text=True, capture_output=True
    )


def succeed(command, *options):
    shown = run(command, *options)
    assert shown.returncode == 0, shown.stderr
    return shown.stderr


@pytest.fixture
def refuse(capsys, monkeypatch):
    """The one line that a command refuses with; the command runs in this process, which has imported all it needs."""

    def check(command, *options):
        monkeypatch.setattr(sys, "argv", [f"lang/{command}.py", *map(str, options)])
        with pytest.raises(SystemExit) as stopped:
            importlib.import_module(f"hainan_k2.lang.{command}").main()
        shown = capsys.readouterr()
        (line,) = shown.err.splitlines()
        assert stopped.value.code == 2 and shown.out == "" and line.startswith(f"{command}.py: error: ")
        return line

    return check


@pytest.fixture(scope="module")
def lang(toy, tmp_path_factory):
    """A folder with bpe.model, the lexicon's files, train.txt, words.arpa and tokens.arpa."""
    pytest.importorskip("kaldingram")
    folder = tmp_path_factory.mktemp("lang")
    for name in ("bpe.model", "tokens.txt"):
        (folder / name).write_bytes((toy / "lang" / name).read_bytes())
    choose = random.Random(1)
    sentences = [" ".join(choose.choice(WORDS[: 1 + i % 8]) for _ in range(choose.randint(1, 5))) for i in range(400)]
    (folder / "train.txt").write_text("\n".join(sentences) + "\n")
    (folder / "test.txt").write_text(f"{sentences[0].upper()}!\n")
    succeed("make_lexicon", "--text", folder / "train.txt", "--lang-dir", folder)
    common = ("--text", folder / "train.txt", "--exclude", folder / "test.txt", "--order", "2")
    (folder / "log").write_text(succeed("train_lm", *common, "--arpa", folder / "words.arpa"))
    succeed("train_lm", *common, "--lang-dir", folder, "--arpa", folder / "tokens.arpa")
    return folder
