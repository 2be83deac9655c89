"""The recipe for one's own data, through all of its stages, from three forms of a corpus of parts of a speech."""

import json
import os
import sys
from pathlib import Path

import pytest
import soundfile

from hainan_k2.text import Tokenizer
from tests.recipes.shell import ROOT, bash

RECIPE = ROOT / "recipes" / "own" / "run.sh"
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


def run(folder, *options, recipe=RECIPE):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = f'export PATH="{path}" PYTHONPATH="{ROOT}:{folder}"\n'
    return bash(environment + f'"{recipe}" --environment false "$@"', *map(str, options), cwd=folder)


@pytest.fixture
def speech(tmp_path):
    """A folder with jfk.wav and more.txt."""
    samples, rate = soundfile.read(ROOT / "tests" / "data" / "jfk.flac", dtype="int16")
    soundfile.write(tmp_path / "jfk.wav", samples, rate)
    (tmp_path / "more.txt").write_text(MORE)
    return tmp_path


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
    return ["--allow-pipes"]


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
    return ["--hold-out", "dev=0.2,test=0.2"]


@pytest.mark.parametrize("make", [kaldi, nemo, folder_of_audio])
def test_fine_tuning_the_released_model(speech, make):
    pytest.importorskip("k2")
    pytest.importorskip("kaldingram")
    options = ["--data", "data", "--init-from", "released", "--lm-text", "more.txt", *make(speech)]
    options += ["--data-dir", "prepared", "--exp-dir", "exp", "--method", "ar-greedy,viterbi-lm,graph"]
    options += ["--train-args", "--num-epochs 1 --device cpu --num-workers 0", "--num-jobs", "1"]
    done = run(speech, *options)
    assert done.returncode == 0, done.stderr
    rows = [row.split("|")[1:3] for row in done.stdout.splitlines() if row.startswith("| test")]
    assert [row[1].strip() for row in rows] == ["ar-greedy", "viterbi-lm", "graph"]
    recogs = (speech / "exp" / "decode" / "recogs-test-graph.txt").read_text()
    assert "ref=['ask', 'not']" in recogs or "ref=['" in recogs and "," not in recogs.split("ref=")[0]
    lang = speech / "prepared" / "lang_bpe_500"
    assert Tokenizer(lang).pieces == Tokenizer(ROOT / "hainan_k2" / "released").pieces
    assert {"fellow", "ask"} <= {line.split()[0] for line in (lang / "words.txt").read_text().splitlines()}
    again = run(speech, *options)
    assert again.returncode == 0 and again.stderr.count("is done: ") == 8
