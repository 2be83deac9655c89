"""The commands of lang/ are part of the package: console scripts, thin files in lang/, example grammars by name."""

import configparser
import importlib
import subprocess
import sys

import pytest

from hainan_k2.fsa.language.grammar_files import EXAMPLES, find_grammar
from tests.toy import ROOT

SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
SCRIPTS = dict(line.split(" = ") for line in SETUP["options.entry_points"]["console_scripts"].strip().splitlines())
COMMANDS = (
    "train_bpe",
    "train_lm",
    "interpolate_lm",
    "prune_lm",
    "make_lexicon",
    "arpa_to_fst",
    "compile_grammar",
    "compile_graph",
)
BLOCKED = """
import sys
sys.modules.update(dict.fromkeys(("kaldingram", "kaldifst")))
import importlib.util
original = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "kaldingram" else original(name, *a)
import importlib
importlib.import_module(sys.argv[1]).main(sys.argv[2:])
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_console_scripts_and_files_run_the_same_code(command, tmp_path):
    module, function = SCRIPTS[f"hainan-{command.replace('_', '-')}"].split(":")
    assert module == f"hainan_k2.lang.{command}" and callable(getattr(importlib.import_module(module), function))
    shown = subprocess.run(
        [sys.executable, ROOT / "lang" / f"{command}.py"], cwd=tmp_path, text=True, capture_output=True
    )
    assert shown.returncode == 2 and shown.stderr.startswith(f"{command}.py: error: give --")
    assert not {path.stem for path in (ROOT / "lang").glob("*.py")} - set(COMMANDS)


def test_without_kaldingram_the_extra_is_named(tmp_path):
    (tmp_path / "text").write_text("alfa bravo\n")
    shown = subprocess.run(
        [sys.executable, "-c", BLOCKED, "hainan_k2.lang.train_lm", "--text", "text", "--arpa", "x.arpa"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        text=True,
        capture_output=True,
    )
    assert shown.returncode == 2 and "is not installed: pip install hainan_k2[lm]" in shown.stderr, shown.stderr


def test_example_grammars_are_package_data():
    assert SETUP["options.package_data"]["hainan_k2.fsa.language"] == "grammars/*.grammar"
    assert sorted(path.name for path in EXAMPLES.glob("*.grammar")) == [
        "dates.grammar",
        "digits.grammar",
        "home.grammar",
        "spelling.grammar",
    ]


def test_a_grammar_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_grammar("digits") == EXAMPLES / "digits.grammar"
    (tmp_path / "digits").write_text("sentence: one\n")
    assert find_grammar("digits").read_text() == "sentence: one\n"  # a file of that name comes first
    with pytest.raises(ValueError) as error:
        find_grammar("colours")
    assert str(error.value) == (
        "colours: no such file, and no example grammar either: there are dates, digits, home, spelling"
    )
