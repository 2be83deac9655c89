"""The driver of experiments: what a grid says, its tables, and a grid that is killed gives the same ones."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.recipes.shell import ROOT, SHARED

sys.path.insert(0, str(SHARED))

from experiment import RunFolder, command, seconds_left, suitable_methods
from experiment_grid import Grid, Run, read_grid
from experiment_results import Cell, comparison_table, read_results, write_results

from hainan_k2.config import ModelConfig
from hainan_k2.scoring.results import write_results as write_recogs

SMALL = """
title: Two kinds
train:
  lang_dir: lang
  train_cuts: train.jsonl.gz
  dev_cuts: dev.jsonl.gz
  preset: tiny
  max_duration: 20
  num_workers: 0
  spec_augment: false
  num_epochs: 2
  save_every: 3
  warmup_updates: 5
  loss: full
vary:
  kind:
    ctc: {objective: ctc}
    hainan: {mask_prob: 0.5}
seeds: [1]
decode: {method: "nar-greedy,sar,ctc-greedy", sar_rounds: "1,2", num_workers: 0}
sets: {dev: dev.jsonl.gz}
distributions: dev
compare:
  NAR is better than CTC: [hainan nar-greedy, ctc ctc-greedy]
"""


def written(folder, text=SMALL):
    (folder / "grid.yaml").write_text(text)
    return folder / "grid.yaml"


def test_grids_of_the_recipes(monkeypatch):
    """They can be read, and train.py and decode.py know all their options."""
    monkeypatch.chdir(ROOT)
    paths = sorted((ROOT / "recipes").glob("*/conf/grid_*.yaml"))
    assert {"grid_kinds", "grid_masking"} <= {path.stem for path in paths}
    for path in paths:
        grid = read_grid(path)
        if grid.trained:
            assert {run.trained for run in grid.runs} >= {"released"} and len(grid.searches) > 1
        else:
            assert len(grid.runs) == len(grid.seeds) * len(grid.configurations) and grid.train["num_epochs"] > 0


def test_options_of_a_file_come_first(tmp_path):
    (tmp_path / "train.yaml").write_text("lr: 0.5\nsigma: 0.1\n")
    text = SMALL.replace("  loss: full", f"  config: {tmp_path}/train.yaml\n  lr: 0.25")
    options = read_grid(written(tmp_path, text)).runs[0].options
    assert (options["lr"], options["sigma"], "config" in options) == (0.25, 0.1, False)
    (tmp_path / "train.yaml").write_text("colour: red\n")
    with pytest.raises(ValueError, match="no option colour"):
        read_grid(tmp_path / "grid.yaml")


def test_runs_come_seed_by_seed(tmp_path):
    text = SMALL.replace("seeds: [1]", "seeds: [3, 1]").replace("  kind:", "  sigma: [0, 0.05]\n  kind:")
    runs = read_grid(written(tmp_path, text.partition("compare:")[0])).runs
    assert [run.seed for run in runs] == [3] * 4 + [1] * 4
    assert [run.name for run in runs[:2]] == ["sigma=0-ctc-seed3", "sigma=0-hainan-seed3"]
    assert (runs[3].options["mask_prob"], runs[3].options["sigma"], runs[3].options["seed"]) == (0.5, 0.05, 3)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("title: Two kinds", "titel: Two kinds", "no key 'title'; the keys are title, seeds"),
        ("loss: full", "loss: fuller", "loss is 'fuller': choose from pruned, full"),
        ("loss: full", "colour: red", "no option colour"),
        ("loss: full", "exp_dir: exp", "the driver sets exp_dir"),
        ("  lang_dir: lang\n", "", "train has no lang_dir"),
        ("seeds: [1]", "seeds: [1, 1]", "two runs have the same name"),
        ("seeds: [1]", "seeds: 1", "seeds is 1, not a list with entries"),
        ("    ctc:", "    ../ctc:", "'../ctc' names a folder"),
        ("sar_rounds:", "lm_scales:", "no option lm_scales"),
        ('"nar-greedy,sar', '"nar-greedily,sar', "no method 'nar-greedily'; there are ar-greedy, "),
        ('"nar-greedy,sar,ctc-greedy"', "all", "no method 'all'"),
        ("distributions: dev", "distributions: test", "'test' is not the name of a set"),
        ("ctc ctc-greedy]", "rnnt ctc-greedy]", "compare 'NAR is better than CTC': two results are needed"),
        ("title: Two kinds", "title: !!python/name:os.system x", "tag"),
    ],
)
def test_grids_that_are_refused(tmp_path, old, new, message):
    with pytest.raises(ValueError, match=message.replace("[", r"\[")) as error:
        read_grid(written(tmp_path, SMALL.replace(old, new)))
    assert "\n" not in str(error.value) and "grid.yaml" in str(error.value)


def test_a_run_takes_the_methods_that_its_model_has():
    ctc = ModelConfig(objective="ctc", durations=(0,))
    assert suitable_methods(["ar-greedy", "ctc-greedy"], ctc) == ["ctc-greedy"]
    assert suitable_methods(["ar-greedy", "nar-greedy"], ModelConfig(predictor_masking=False)) == [
        "ar-greedy",
        "nar-greedy",
    ]
    with pytest.raises(ValueError, match="none of ar-greedy decodes a model of objective ctc"):
        suitable_methods(["ar-greedy"], ctc)


def test_a_step_is_done_only_as_it_was_asked(tmp_path):
    grid = read_grid(written(tmp_path))
    folder = RunFolder(tmp_path, grid.runs[1], grid)
    assert [step.name for step in folder.pending()] == ["train", "decode-dev", "distributions"]
    folder.path.mkdir()
    for step, seconds in zip(folder.steps[:2], (60.0, 4.0)):
        record = {"asked": json.loads(json.dumps(step.asked)), "command": "", "seconds": seconds}
        (folder.path / f"{step.name}.json").write_text(json.dumps(record))
    assert [step.name for step in folder.pending()] == ["distributions"]
    assert seconds_left([folder], 1) != seconds_left([folder], 1), "nothing is known of distributions yet: NaN"
    others = [RunFolder(tmp_path, run, Grid(**{**vars(grid), "distributions": None})) for run in grid.runs]
    assert seconds_left(others, 2) == 32.0
    changed = Grid(**{**vars(grid), "decode": {**grid.decode, "sar_rounds": "1"}})
    names = [step.name for step in RunFolder(tmp_path, grid.runs[1], changed).pending()]
    assert names == ["decode-dev", "distributions"]
    (folder.path / "options.json").write_text(json.dumps({**grid.runs[1].options, "lr": 0.5}))
    with pytest.raises(ValueError, match="hainan-seed1 was trained with another lr: give another --out-dir"):
        folder.check()


def test_results_of_other_cuts_are_removed_before_a_set_is_decoded(tmp_path, monkeypatch):
    grid = read_grid(written(tmp_path))
    folder = RunFolder(tmp_path, grid.runs[1], grid)
    stale = folder.path / "decode" / "dev" / "summary-old.json"
    stale.parent.mkdir(parents=True)
    stale.write_text("{}")
    monkeypatch.setattr(RunFolder, "_model", lambda self: ModelConfig())
    words = folder.steps[1].command()
    assert not stale.exists() and words[words.index("--out-dir") + 1] == str(stale.parent)
    assert words[words.index("--method") + 1] == "nar-greedy,sar,ctc-greedy"


def test_values_of_options_as_the_command_line_takes_them():
    words = command("hainan_k2/train.py", {"scan_batches": None, "spec_augment": False, "durations": [0, 1]})
    assert words[2:] == ["--scan-batches", "none", "--spec-augment", "false", "--durations", "0,1"]


def finished(folder, run, texts):
    """The files of a run, as decode.py writes them."""
    write_recogs(folder / "decode" / "dev", "some-set", texts)
    figures = {"encoder_seconds": [2.0], "search_seconds": [1.0, 3.0]}
    summary = {"audio_seconds": 60.0, "methods": {method: figures for method in texts}}
    (folder / "decode" / "dev" / "summary-some-set.json").write_text(json.dumps(summary))
    (folder / "train.json").write_text(json.dumps({"command": f"train {run.name}"}))
    (folder / "decode-dev.json").write_text(json.dumps({"command": "decode", "asked": {"cuts": "dev.jsonl.gz"}}))
    (folder / "distributions-of-model.json").write_text(json.dumps({"zero_ar": 0.25} if "ctc" not in run.name else {}))


def test_tables(tmp_path):
    """Two seeds of one configuration and one of the other: comparisons are made over the seed that both have."""
    grid = read_grid(written(tmp_path, SMALL.replace("[1]", "[1, 2]")))
    ctc, hainan, ctc2, _ = grid.runs
    wrong, right = [("a", "x y", "x"), ("b", "z w", "z v")], [("a", "x y", "x y"), ("b", "z w", "z w")]
    for run, texts in (
        (ctc, {"ctc-greedy": wrong}),
        (hainan, {"nar-greedy": right, "sar sar_rounds=2": right}),
        (ctc2, {"ctc-greedy": right}),
    ):
        finished(tmp_path / run.name, run, texts)
    runs = [(tmp_path / run.name, run) for run in (ctc, hainan, ctc2)]
    write_results(grid, runs, tmp_path, "grid.yaml --out-dir exp")
    page = (tmp_path / "results.md").read_text()
    assert "3 of 4 runs are complete" in page and "experiment.py grid.yaml --out-dir exp --run" in page
    assert "| configuration | seeds | nar-greedy | sar sar_rounds=2 | ctc-greedy |" in page
    assert "| ctc | 2 |  |  | 25.00 (" in page and "| hainan | 1 | 0.00 (0.00 - 0.00) | 0.00 (0.00 - 0.00) |" in page
    assert (
        "| NAR is better than CTC | hainan nar-greedy less ctc ctc-greedy | dev | -50.00 | -50.00 to -50.00 |" in page
    )
    assert "| hainan | 0.250 |" in page and "| hainan | 2.00 | 2.000 | 2.000 |  |" in page
    lines = [line.split("\t") for line in (tmp_path / "results.tsv").read_text().splitlines()]
    assert all(len(line) == len(lines[0]) for line in lines) and len(lines) == 5
    assert lines[1][:5] == ["ctc", "1", "dev", "ctc-greedy", "50.00"] and lines[1][-2:] == ["train ctc-seed1", "decode"]
    assert (tmp_path / "plot-dev.png").stat().st_size > 5000
    cells = {}
    for result in read_results(runs, {"dev": "dev"}):
        cells.setdefault((result.set, result.run.configuration, result.method), Cell([])).results.append(result)
    assert comparison_table(grid, {key: cell for key, cell in cells.items() if key[1] == "ctc"}) == []


def run_driver(folder, *options):
    words = [sys.executable, SHARED / "experiment.py", folder / "grid.yaml", "--out-dir", folder / "exp", *options]
    return subprocess.Popen(
        words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def without_times(folder):
    """The results that do not depend on the machine: rows of results.tsv without seconds and folders, the error rates,
    comparisons and distributions of results.md."""
    rows = [line.split("\t")[:12] for line in (folder / "results.tsv").read_text().splitlines()]
    sections = (folder / "results.md").read_text().split("\n\n")
    titles = [i for i, section in enumerate(sections) if section.startswith("## ")]
    return rows, [sections[i : i + 2] for i in titles]


@pytest.mark.parametrize("kill", [os.kill, os.killpg], ids=["the driver", "its commands too"])
def test_a_grid_that_is_killed_gives_the_same_tables(kill, toy, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
        written(folder)
        for name in ("train.jsonl.gz", "dev.jsonl.gz", "lang"):
            (folder / name).symlink_to(toy / name)
    begin = time.monotonic()
    driver = run_driver(whole, "--jobs", "1")
    output, _ = driver.communicate()
    assert driver.returncode == 0, output
    moment = random.uniform(0.1, 0.9) * (time.monotonic() - begin)
    print(f"killed after {moment:.1f} s")
    driver = run_driver(cut, "--jobs", "1")
    time.sleep(moment)
    kill(driver.pid, signal.SIGKILL)
    driver.wait()
    done = {path: path.read_bytes() for path in (cut / "exp").glob("*/*.json") if path.name != "options.json"}
    driver = run_driver(cut, "--jobs", "2")
    output, _ = driver.communicate()
    assert driver.returncode == 0 and "2 of 2 runs are done" in output, output
    assert all(path.read_bytes() == before for path, before in done.items()), "done is done"
    assert without_times(cut / "exp") == without_times(whole / "exp")
    again = run_driver(cut)
    assert "0 of 2 runs are to do" in again.communicate()[0] and again.returncode == 0


def test_a_run_that_fails_does_not_stop_the_others(toy, tmp_path):
    text = SMALL.partition("distributions:")[0].replace("num_epochs: 2", "num_epochs: 1")
    text = text.replace("    hainan: {mask_prob: 0.5}\n", "")
    written(tmp_path, text.replace("    ctc:", "    lost: {train_cuts: lost.jsonl.gz}\n    ctc:"))
    for name in ("train.jsonl.gz", "dev.jsonl.gz", "lang"):
        (tmp_path / name).symlink_to(toy / name)
    driver = run_driver(tmp_path, "--jobs", "1")
    output, _ = driver.communicate()
    assert driver.returncode == 1 and "1 of 2 runs are done" in output
    assert "lost-seed1: train.py ended with code 2: train.py: error: lost.jsonl.gz" in output
    assert not (tmp_path / "exp" / "lost-seed1" / "train.json").exists()
    assert "| ctc | 1 |" in (tmp_path / "exp" / "results.md").read_text()


def test_bad_options_are_one_line(tmp_path):
    written(tmp_path)
    for options, message in (
        (["--run", "tdt-seed1"], "--run tdt-seed1: the runs are ctc-seed1, hainan-seed1"),
        (["--jobs", "0"], "--jobs is 0: at least 1"),
    ):
        driver = run_driver(tmp_path, *options)
        output, _ = driver.communicate()
        assert driver.returncode == 2 and output == f"experiment.py: error: {message}\n"


def test_names_of_runs():
    assert Run("hainan", 3, {}).name == "hainan-seed3" and Path("x", Run("a=1", 0, {}).name).name == "a=1-seed0"
