"""Grids of models that are trained already: what is decoded, with what, and the tables."""

import shutil
import sys

import pytest

from tests.recipes.shell import SHARED

sys.path.insert(0, str(SHARED))

import experiment_results
from experiment import RunFolder
from experiment_grid import read_grid
from experiment_results import write_results

from hainan_k2.config import ModelConfig
from tests.recipes.test_experiment import finished, written

SEARCHES = """
title: Searches
trained: {plain: "runs/plain-seed{seed}", released: released}
seeds: [1, 2]
decode:
  - {method: "nar-greedy,sar", sar_rounds: "1,2"}
  - {method: "viterbi,sar", duration_scale: "0,1", num_workers: 0}
sets: {dev: dev.jsonl.gz}
compare:
  A second round helps: [plain sar sar_rounds=2, plain sar sar_rounds=1]
"""


def test_a_grid_of_trained_models(tmp_path, monkeypatch):
    """Seeds that are not trained yet are left out; every call of decode.py has a step."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"no model of trained is there, e\.g\. runs/plain-seed\{seed\}"):
        read_grid(written(tmp_path, SEARCHES.replace(", released: released", "")))
    for seed in (1, 2):
        folder = tmp_path / "runs" / f"plain-seed{seed}"
        folder.mkdir(parents=True)
        (folder / "options.json").write_text('{"lang_dir": "lang"}')
    (tmp_path / "runs" / "plain-seed1" / "train.json").write_text('{"command": "train.py"}')
    grid = read_grid(written(tmp_path, SEARCHES))
    assert [(run.name, run.trained) for run in grid.runs] == [
        ("plain-seed1", "runs/plain-seed1"),
        ("released-seed1", "released"),
    ]
    assert [run.trained for run in grid.absent] == ["runs/plain-seed2"]
    folders = [RunFolder(tmp_path / "exp", run, grid) for run in grid.runs]
    assert [step.name for step in folders[0].pending()] == ["decode-dev", "decode-dev.1"]
    monkeypatch.setattr(RunFolder, "_model", lambda self: ModelConfig())
    words = " ".join(folders[0].steps[1].command())
    assert "--exp-dir runs/plain-seed1 --lang-dir lang --cuts dev.jsonl.gz" in words
    assert words.endswith("decode/dev.1 --method viterbi,sar --duration-scale 0,1 --num-workers 0")
    assert "--model released --cuts" in " ".join(folders[1].steps[0].command())
    for text in ("x y", "x"):
        texts = {f"sar sar_rounds={i}": [("a", "x y", text)] for i in (1, 2)}
        finished(folders[0].path, grid.runs[0], texts)
    shutil.move(folders[0].path / "decode" / "dev", folders[0].path / "decode" / "dev.1")
    (folders[0].path / "decode-dev.1.json").write_text('{"command": "decode again"}')
    finished(folders[0].path, grid.runs[0], {"nar-greedy": [("a", "x y", "x z")], **texts})
    write_results(grid, [(folders[0].path, grid.runs[0])], tmp_path, "grid.yaml")
    page = (tmp_path / "results.md").read_text()
    assert "| configuration | seeds | nar-greedy | sar sar_rounds=1 | sar sar_rounds=2 |" in page
    lines = (tmp_path / "results.tsv").read_text().splitlines()
    assert len(lines) == 4 and all(line.endswith("train.py\tdecode") for line in lines[1:])


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("trained:", "train: {lr: 1}\ntrained:", "trained models are not trained: leave out train and vary"),
        ("trained: {", "trained: []\nsets_: {", "no key 'sets_'"),
        ("  - {method", "  - x\n  - {method", "a list of options of decode.py"),
        ("sets: {dev:", "distributions: dev\nsets: {dev:", "distributions describe the models that a grid trains"),
        ("sets: {dev:", "sets: {dev.1:", "'dev.1' is not the name of a set"),
        ("released: released", "released: 3", "a path for each name"),
        ("released: released", "released: '{name}/{0}'", "no model of trained is there"),
        ("num_workers: 0", "model: released", "the driver sets model"),
    ],
)
def test_grids_of_trained_models_that_are_refused(tmp_path, old, new, message):
    with pytest.raises(ValueError, match=message):
        read_grid(written(tmp_path, SEARCHES.replace(old, new)))


def test_wide_tables_are_turned():
    head = [f"method {i}" for i in range(20)]
    rows = [["a", *map(str, range(19))], ["b", *map(str, range(19))]]
    lines = experiment_results._table(head, rows)
    assert lines[:3] == ["| method 0 | a | b |", "| --- | --- | --- |", "| method 1 | 0 | 0 |"] and len(lines) == 21
