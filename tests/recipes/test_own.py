"""The recipe for one's own data and the pages of recipes/README.md, on three forms of a corpus of parts of a speech."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import soundfile
from lhotse import CutSet

from hainan_k2 import decode, prepare_data, score, train
from hainan_k2.formats.checkpoint import load_model, select_checkpoints
from hainan_k2.formats.model_dir import RELEASED, read_model
from hainan_k2.text import Tokenizer
from tests.recipes.shell import ROOT, bash

RECIPE = ROOT / "recipes" / "own" / "run.sh"
OWN = f'"{RECIPE}" --environment false "$@"'
# Seconds and words of parts of tests/data/jfk.flac.
PARTS = (
    (0.0, 2.3, "And so, my fellow Americans:"),
    (3.2, 4.4, "ask not"),
    (5.3, 7.8, "what your country can do for you,"),
    (8.1, 10.6, "ask what you can do for your country."),
)
# Other text for the language models: n-grams that occur once and twice.
MORE = """
what can you do for your country
ask your fellow americans
ask your fellow americans
and what do you ask
so my country can do what you can not do
"""


def run(folder, script, *options):
    """Runs a script with the Python of this test."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return bash(f'export PATH="{path}" PYTHONPATH="{ROOT}"\n{script}', *options, cwd=folder)


def make_speech(folder):
    """The folder, with jfk.wav and more.txt in it."""
    samples, rate = soundfile.read(ROOT / "tests" / "data" / "jfk.flac", dtype="int16")
    soundfile.write(folder / "jfk.wav", samples, rate)
    (folder / "more.txt").write_text(MORE)
    return folder


def kaldi(folder):
    """data/{train,dev,test} with segments and a pipe."""
    for split in ("train", "dev", "test"):
        to = folder / "data" / split
        to.mkdir(parents=True)
        (to / "wav.scp").write_text(f"{split}-jfk cat {folder}/jfk.wav |\n")
        named = [(f"{split}-{i}", *part) for i, part in enumerate(PARTS)]
        (to / "segments").write_text("".join(f"{name} {split}-jfk {s} {e}\n" for name, s, e, _ in named))
        (to / "text").write_text("".join(f"{name} {text}\n" for name, _, _, text in named))
        (to / "utt2spk").write_text("".join(f"{name} jfk\n" for name, *_ in named))


def nemo(folder):
    """data/{train,dev,test}.json with offsets."""
    (folder / "data").mkdir()
    for split in ("train", "dev", "test"):
        lines = [
            {"audio_filepath": f"{folder}/jfk.wav", "offset": s, "duration": e - s, "text": t, "id": f"{split}-{i}"}
            for i, (s, e, t) in enumerate(PARTS)
        ]
        (folder / "data" / f"{split}.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return []


def folder_of_audio(folder):
    """data/*.wav with data/*.txt; validation and test data are held out."""
    (folder / "data").mkdir()
    samples, rate = soundfile.read(folder / "jfk.wav", dtype="int16")
    for i, (start, end, text) in enumerate(PARTS):
        soundfile.write(folder / "data" / f"{i}.wav", samples[round(start * rate) : round(end * rate)], rate)
        (folder / "data" / f"{i}.txt").write_text(text + "\n")
    return ["--hold-out", "dev=0.1,test=0.1"]


METHODS = "ar-greedy,viterbi-lm,graph"
TRAINING = ["--num-epochs", "1", "--device", "cpu", "--num-workers", "0"]
PAGES = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", (RECIPE.parents[1] / "README.md").read_text(), re.M | re.S))
# In place of recipes/own/run.sh: the recipe itself, with options that make a miniature of it.
MINIATURE = f"""#!/usr/bin/env bash
more=(--environment false --num-jobs 1)
if [[ " $* " == *" --init-from "* ]]; then
  more+=(--train-args "{" ".join(TRAINING)}")
else
  more+=(--vocab-size 40 --train-config small.yaml --train-args "--device cpu --num-workers 0 --spec-augment false")
fi
exec "{RECIPE}" "$@" "${{more[@]}}"
"""


def run_page(folder, title):
    """Runs the commands of a page of recipes/README.md, in a folder that stands for the repository."""
    (folder / "recipes" / "own").mkdir(parents=True, exist_ok=True)
    (folder / "recipes" / "own" / "run.sh").write_text(MINIATURE)
    (folder / "recipes" / "own" / "run.sh").chmod(0o755)
    (folder / "small.yaml").write_text("preset: tiny\nnum_epochs: 10\nlr: 0.001\nwarmup_updates: 5\n")
    (folder / "words.txt").write_text("fellowship\n")
    if not (folder / "hainan_k2").exists():
        (folder / "hainan_k2").symlink_to(ROOT / "hainan_k2")
    shutil.copy(folder / "jfk.wav", folder / "talk.wav")
    commands = "\n".join(re.findall(r"```sh\n(.*?)```", PAGES[title], re.S))
    return run(folder, commands)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A folder in which the page on fine-tuning has run, on Kaldi directories with segments and pipes; the process."""
    pytest.importorskip("k2")
    pytest.importorskip("kaldingram")
    folder = make_speech(tmp_path_factory.mktemp("tuned"))
    kaldi(folder)
    return folder, run_page(folder, "Fine-tune a model on your data")


def test_the_page_on_fine_tuning(tuned):
    folder, done = tuned
    assert done.returncode == 0, done.stderr
    rows = [row.split("|")[2].strip() for row in done.stdout.splitlines() if row.startswith("| test |")]
    assert rows == METHODS.split(",")
    assert "tuned/decode/recogs-test-ar-greedy.txt less before/recogs-test-ar-greedy.txt: WER " in done.stdout
    recogs = (folder / "tuned" / "decode" / "recogs-test-graph.txt").read_text()
    assert "test-1:\tref=['ask', 'not']" in recogs
    lang = folder / "prepared-tuned" / "lang_bpe_500"
    assert Tokenizer(lang).pieces == Tokenizer(RELEASED).pieces
    assert {"fellow", "ask", "fellowship"} <= {
        line.split()[0] for line in (lang / "words.txt").read_text().splitlines()
    }
    assert " fellowship" not in (lang / "graph" / "words.arpa").read_text().split("\\2-grams:")[1]
    first = read_model(RELEASED)[0].state_dict()
    trained = load_model(select_checkpoints(folder / "tuned", None, 1))[0].state_dict()
    changed = {name.split(".")[0] for name, value in first.items() if not value.equal(trained[name])}
    assert {"encoder", "predictor", "joiner"} <= changed
    assert read_model(folder / "tuned-model")[1].normalisation == "english"


def test_nothing_runs_twice(tuned):
    folder, _ = tuned
    (command,) = re.findall(r"recipes/own/run.sh.*?graph\n", PAGES["Fine-tune a model on your data"], re.S)
    again = run(folder, command)
    assert again.returncode == 0 and again.stderr.count("is done: ") == 8, again.stderr


def test_the_page_on_training(tmp_path):
    pytest.importorskip("kaldingram")
    kaldi(make_speech(tmp_path))
    done = run_page(tmp_path, "Train on your data")
    assert done.returncode == 0, done.stderr
    rows = [row.split("|")[2].strip() for row in done.stdout.splitlines() if row.startswith("| test |")]
    assert rows == ["ar-greedy", "nar-greedy", "viterbi-lm"]
    assert read_model(tmp_path / "model")[1].normalisation == "english"


def test_the_page_on_scoring(tmp_path):
    kaldi(make_speech(tmp_path))
    done = run_page(tmp_path, "Decode a Kaldi set and score it with sclite")
    assert done.returncode == 0, done.stderr
    first, second = [line.partition(": ")[2] for line in done.stdout.splitlines() if ": WER " in line]
    assert first == second and "22 words, 4 utterances" in first
    assert (tmp_path / "results" / "test-ar-greedy.ctm").read_text().startswith("test-")


@pytest.mark.parametrize("make", [nemo, folder_of_audio])
def test_other_forms_are_trained_on_and_decoded_with_the_same_lm_and_graph(tuned, tmp_path, make, capsys):
    lang = tuned[0] / "prepared-tuned" / "lang_bpe_500"
    make(make_speech(tmp_path))
    cuts = {}
    for split in ("train", "test"):
        source = tmp_path / "data" / f"{split}.json" if make is nemo else tmp_path / "data"
        prepare_data.main([str(source), "--split", split, "--out-dir", str(tmp_path / "m"), "--normalise", "english"])
        cuts[split] = str(tmp_path / "m" / f"cuts_{split}.jsonl.gz")
    given = ["--exp-dir", str(tmp_path / "exp"), "--lang-dir", str(lang)]
    train.main(
        [*given, "--train-cuts", cuts["train"], "--dev-cuts", cuts["test"], "--init-from", "released", *TRAINING]
    )
    capsys.readouterr()
    resources = ["--lm", str(lang / "lm.arpa"), "--graph", str(lang / "graph" / "LG.safetensors"), "--num-workers", "0"]
    decode.main([*given, "--cuts", cuts["test"], "--method", METHODS, *resources])
    assert "test: 4 utterances" in capsys.readouterr().out
    for method in METHODS.split(","):
        score.main([str(tmp_path / "exp" / "decode" / f"recogs-test-{method}.txt")])
        assert ", 22 words, 4 utterances" in capsys.readouterr().out


@pytest.mark.parametrize("make, held_out", [(nemo, 4), (folder_of_audio, 1)])
def test_sources_in_a_folder_are_the_splits_or_parts_are_held_out(tmp_path, make, held_out):
    options = make(make_speech(tmp_path))
    prepared = ["--data-dir", "prepared", "--exp-dir", "exp", "--stop-stage", "1", "--num-jobs", "1"]
    done = run(tmp_path, OWN, "--data", "data", *prepared, *options)
    assert done.returncode == 0, done.stderr
    manifests = tmp_path / "prepared" / "manifests"
    counts = [len(list(CutSet.from_file(manifests / f"own_cuts_{name}.jsonl.gz"))) for name in ("dev", "test")]
    assert counts == [held_out, held_out]


@pytest.mark.parametrize(
    "options, message",
    [
        ([], "--data is required"),
        (["--data", "absent"], "no such file or folder: absent"),
        (["--data", ".", "--dev", "more.txt"], "there is more.txt: give both --dev and --test, or neither"),
        (["--data", ".", "--lm-text", "more.txt,lost.txt"], "no such file or folder: lost.txt"),
        (["--data", ".", "--init-from", "lost"], "--init-from lost is no model directory"),
        (
            ["--data", ".", "--init-from", "released", "--normalise", "lower"],
            "--normalise lower: the texts of released are normalised by english",
        ),
        (["--data", ".", "--musan", "lost"], "no such folder: --musan lost"),
    ],
)
def test_bad_options(tmp_path, options, message):
    done = run(make_speech(tmp_path), OWN, *options)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1


def test_test_data_are_not_trained_on(tmp_path):
    nemo(make_speech(tmp_path))
    (tmp_path / "data" / "train.json").rename(tmp_path / "data" / "training.json")
    done = run(tmp_path, OWN, "--data", "data")
    assert done.returncode == 2 and "--data data has dev and no train" in done.stderr


def test_a_model_directory_does_not_name_a_function_for_the_recipe(tmp_path):
    (make_speech(tmp_path) / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{\n "text": {\n  "normalisation": "evil:code"\n }\n}\n')
    done = run(tmp_path, OWN, "--data", ".", "--init-from", "model")
    assert done.returncode == 2 and "give --normalise evil:code if you trust it" in done.stderr
