"""The script that makes the model directory of the package, on a small random model and toy speech."""

import json
import os
import sys
from pathlib import Path

import pytest
from lhotse import CutSet

from hainan_k2.bench.decode import random_model
from hainan_k2.formats.model_dir import LM, read_decoding, read_model, read_own_lm, write_model
from hainan_k2.text.tokenizer import Tokenizer
from tests.recipes.shell import ROOT, bash

SCRIPT = ROOT / "recipes" / "amazon_queen" / "local" / "release.sh"


def run(folder, *options):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return bash(f'export PATH="{path}" PYTHONPATH="{ROOT}"\n"{SCRIPT}" "$@"', *options, cwd=folder)


@pytest.fixture(scope="module")
def data(toy, tmp_path_factory):
    """A model directory, and a data folder with texts and three dev cuts."""
    pytest.importorskip("kaldingram")
    folder = tmp_path_factory.mktemp("release")
    tokenizer = Tokenizer(toy / "lang")
    write_model(
        folder / "model", random_model("tiny", tokenizer.vocab_size, seed=1), tokenizer, "float16", {}, ctc=True
    )
    (folder / "data" / "text").mkdir(parents=True)
    (folder / "data" / "manifests").mkdir()
    texts = [line.text for cut in CutSet.from_file(toy / "train.jsonl.gz") for line in cut.supervisions]
    (folder / "data" / "text" / "brown.txt").write_text("\n".join(texts))
    (folder / "data" / "text" / "dialogue-train.txt").write_text("\n".join(texts[::2]))
    cuts = list(CutSet.from_file(toy / "dev.jsonl.gz"))[:3]
    for split in ("dev", "test"):
        CutSet.from_cuts(cuts).to_file(folder / "data" / "manifests" / f"librispeech_cuts_{split}.jsonl.gz")
    return folder


def test_the_directory_has_everything(data):
    pytest.importorskip("k2")
    common = ("--model", "model", "--data-dir", "data", "--ngrams", "300")
    done = run(data, *common, "--out-dir", "new", "--test-splits", "test")
    assert done.returncode == 0, done.stderr
    model, tokenizer, _ = read_model(data / "new")
    assert model.ctc is not None
    assert read_own_lm(data / "new", tokenizer).num_arcs <= 300
    assert json.loads((data / "new" / "config.json").read_text())["precision"] == "int8"
    decoding = read_decoding(data / "new")
    assert decoding.methods == ("viterbi-lm", "ar-beam")
    made = {setting.method: setting for setting in decoding.settings}
    assert set(made) == {"ar-greedy", "nar-greedy", "sar", "viterbi", "viterbi-lm", "ar-beam", "rescore"}
    assert all(setting.calibration is not None for setting in made.values())
    assert made["ar-beam"].options["beam"] == 8 and made["rescore"].options["lattice"] == "ar"
    assert done.stdout.count("expected calibration error") == 2 * len(made)  # on dev and on test
    assert (data / "new" / LM).is_file()


@pytest.mark.parametrize("options", [(), ("--data-dir", "data"), ("--out-dir", "new")])
def test_required_options(tmp_path, options):
    done = run(tmp_path, *options)
    assert done.returncode == 2 and "--data-dir and --out-dir are required" in done.stderr
