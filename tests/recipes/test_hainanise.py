"""The recipe that trains a model to decode without its predictor, through all of its stages."""

import configparser
import importlib
import os
import re
import sys
from pathlib import Path

import pytest
import soundfile
from lhotse import CutSet, Recording, SupervisionSegment

from hainan_k2.formats.model_dir import RELEASED, read_model
from tests.recipes.shell import ROOT, bash

RECIPE = ROOT / "recipes" / "hainanise" / "run.sh"
TEXTS = ("and so my fellow americans", "ask not what your country can do for you")


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """labelled.jsonl.gz and unlabelled.jsonl.gz: two parts of a speech with and without their texts."""
    folder = tmp_path_factory.mktemp("speech")
    samples, rate = soundfile.read(ROOT / "tests" / "data" / "jfk.flac")
    cuts = []
    for i, (text, part) in enumerate(zip(TEXTS, (samples[: 3 * rate], samples[3 * rate : 8 * rate]))):
        soundfile.write(folder / f"{i}.wav", part, rate)
        recording = Recording.from_file(folder / f"{i}.wav")
        cut = recording.to_cut()
        cut.supervisions = [SupervisionSegment(f"{i}", recording.id, 0, recording.duration, text=text)]
        cuts.append(cut)
    CutSet.from_cuts(cuts).to_file(folder / "labelled.jsonl.gz")
    CutSet.from_cuts(cut.drop_supervisions() for cut in cuts).to_file(folder / "unlabelled.jsonl.gz")
    return folder


def run(folder, *options):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = f'export PATH="{path}" PYTHONPATH="{ROOT}"\n'
    return bash(environment + f'"{RECIPE}" --environment false --exp-dir exp --num-jobs 1 "$@"', *options, cwd=folder)


def test_from_unlabelled_audio_to_a_table_of_results(speech):
    cuts = ["--train-cuts", "unlabelled.jsonl.gz", "--dev-cuts", "labelled.jsonl.gz", "--labels-from", "ar-beam"]
    options = [*cuts, "--train-args", "--num-epochs 2 --device cpu", "--method", "ar-greedy,nar-greedy"]
    done = run(speech, *options, "--test-cuts", "labelled.jsonl.gz")
    assert done.returncode == 0, done.stderr
    assert "labels.jsonl.gz: 2 of 2 cuts" in done.stderr
    before, after = done.stdout.split("The model before:\n")[1].split("The model after:\n")
    for table in (before, after):
        assert [row.split("|")[1:3] for row in table.splitlines() if "-greedy" in row] == [
            [" labelled ", " ar-greedy "],
            [" labelled ", " nar-greedy "],
        ]
    first, trained = read_model(RELEASED)[0].state_dict(), read_model(speech / "exp" / "model")[0].state_dict()
    assert set(first) - set(trained) == {"ctc.weight", "ctc.bias"}, "the head that only training uses is left out"
    same = [name for name, value in trained.items() if value.equal(first[name])]
    assert same == [name for name in trained if name.startswith("encoder.")]
    again = run(speech, *options, "--stop-stage", "3")
    assert again.returncode == 0 and again.stderr.count("is done: ") == 4


def commands_of(page):
    """(command, its options) of every hainan-* command in the shell blocks of a page."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"```sh\n(.*?)```", text, flags=re.S):
        for line in block.replace("\\\n", " ").splitlines():
            command, *words = line.split("#")[0].split()
            if command.startswith("hainan-"):
                yield command, [word for word in words if word.startswith("--")]


def test_the_commands_of_the_guide_have_these_options(capsys):
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    scripts = dict(line.split(" = ") for line in setup["options.entry_points"]["console_scripts"].strip().splitlines())
    commands = list(commands_of(RECIPE.parent / "README.md"))
    assert {name for name, _ in commands} >= {
        "hainan-import",
        "hainan-compute-features",
        "hainan-train",
        "hainan-label",
    }
    for name, options in commands:
        module, function = scripts[name].split(":")
        with pytest.raises(SystemExit):
            getattr(importlib.import_module(module), function)(["--help"])
        known = set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out))
        assert set(options) <= known, f"{name} has no {set(options) - known}"


@pytest.mark.parametrize(
    "options, message",
    [
        ([], "no such file: '' (--train-cuts and --dev-cuts are required)"),
        (["--train-cuts", "labelled.jsonl.gz", "--dev-cuts", "absent"], "no such file: 'absent'"),
        (["--stage", "3", "--stop-stage", "2"], "stages 3 to 2"),
    ],
)
def test_bad_options(speech, options, message):
    done = run(speech, *options)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
