"""Training: a toy task to zero errors, exact resumption after kill -9, interruption, losses that are not finite."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from hainan_k2 import decode, train
from hainan_k2.files.jsonl import read_lines
from hainan_k2.formats.checkpoint import LAST, epoch_checkpoints, load_checkpoint
from hainan_k2.training import trainer, updater
from tests.toy import ROOT, assert_trained_as, decode_command, losses, train_command

PATIENCE = 1800  # seconds until a run counts as hung: on a busy machine its start alone can take minutes


def start(folder, exp, *options):
    def accept_ctrl_c():  # children of a background shell ignore it
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen(
        [sys.executable, ROOT / "hainan_k2" / "train.py", *train_command(folder, exp, *options)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        preexec_fn=accept_ctrl_c,
    )


def wait_for(condition, process):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline, "the run ended or hung too early"
        time.sleep(0.02)


@pytest.fixture
def ctrl_c_interrupts():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def trained(toy):
    """The experiment folder of the trained toy model."""
    train.main(
        train_command(toy, "trained", "--loss", "full", "--dropout", "0", "--max-duration", "8", "--num-epochs", "22")
    )
    return toy / "trained"


def test_the_toy_task_is_learned_to_zero_errors(trained):
    assert min(line["dev_wer"] for line in read_lines(trained / "epochs.jsonl")) == 0
    assert (trained / "curves.png").stat().st_size > 10000
    assert any((trained / "tensorboard").iterdir())
    assert list(epoch_checkpoints(trained)) == list(range(13, 23))  # keep_epochs


def test_decode_writes_what_icefall_users_expect(trained, toy, capsys):
    options = ["--avg", "3", "--method", "ar-greedy,nar-greedy", "--write", "ctm,jsonl"]
    decode.main(decode_command(toy, trained.name, *options))
    shown = capsys.readouterr().out
    assert "ar-greedy" in shown and "nar-greedy" in shown
    out = trained / "decode"
    for method in ("ar-greedy", "nar-greedy"):
        assert "ref=[" in (out / f"recogs-dev-{method}.txt").read_text()
        assert (out / f"errs-dev-{method}.txt").read_text().startswith("%WER = ")
        assert len((out / f"dev-{method}.jsonl").read_text().splitlines()) == 20
    assert "settings\tWER" in (out / "wer-summary-dev.txt").read_text()
    summary = json.loads((out / "summary-dev.json").read_text())
    assert summary["methods"]["ar-greedy"]["wer"] < 0.05


@pytest.mark.parametrize(
    "options, message",
    [
        ([], "hainan-train"),
        (["--epoch", "3"], "has \\[13"),
        (["--avg", "40"], "epochs up to"),
        (["--method", "magic"], "ar-greedy, "),
        (["--cuts", ""], "--cuts"),
    ],
)
def test_decode_names_missing_options_in_one_line(trained, toy, options, message, capsys):
    exp = toy / "none" if not options else trained
    with pytest.raises(SystemExit) as stopped:
        decode.main(decode_command(toy, exp.name, *options))
    err = capsys.readouterr().err
    assert stopped.value.code == 2 and err.count("\n") == 1
    assert re.search(message, err)


def test_decode_without_arguments_explains_how_to_get_a_checkpoint(tmp_path):
    shown = subprocess.run(
        [sys.executable, ROOT / "hainan_k2" / "decode.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert shown.returncode == 2 and shown.stdout == "" and shown.stderr.count("\n") == 1
    assert "hainan-train --exp-dir exp" in shown.stderr


@pytest.mark.parametrize("loss", ["full", "pruned"])
def test_kill_9_and_the_same_command_again_gives_the_same_losses(toy, loss):
    options = [
        "--loss",
        loss,
        "--num-epochs",
        "3",
        "--save-every",
        "3",
        "--spec-augment",
        "true",
        "--prune-warmup",
        "8",
    ]
    train.main(train_command(toy, f"whole-{loss}", *options))
    whole = losses(toy / f"whole-{loss}")
    exp = toy / f"killed-{loss}"
    process = start(toy, f"killed-{loss}", *options)
    wait_for(lambda: (exp / LAST).exists() and len(losses(exp)) >= 5, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < len(losses(exp)) < len(whole), "it should be killed midway"
    assert load_checkpoint(exp / LAST)["progress"]["batch"] > 0 or len(losses(exp)) > 8
    process = start(toy, f"killed-{loss}", *options)
    assert process.wait(timeout=PATIENCE) == 0
    assert_trained_as(toy / f"whole-{loss}", exp)


def test_the_number_of_workers_changes_nothing(toy):
    options = ["--loss", "full", "--num-epochs", "1", "--spec-augment", "true"]
    for workers in ("0", "1", "2"):
        train.main(train_command(toy, f"workers-{workers}", *options, "--num-workers", workers))
    assert losses(toy / "workers-0") == losses(toy / "workers-1") == losses(toy / "workers-2")


def test_ctrl_c_leaves_a_checkpoint_that_decodes_and_resumes(toy):
    exp = toy / "interrupted"
    options = ["--loss", "full", "--num-epochs", "500"]
    process = start(toy, "interrupted", *options)
    wait_for(lambda: exp.exists() and len(losses(exp)) >= 10, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=PATIENCE) == 130
    state = load_checkpoint(exp / LAST)
    assert state["progress"]["updates"] == len(losses(exp))
    assert "continues" in (exp / "train.log").read_text()


@pytest.mark.parametrize(
    "owner, name, epoch, batch",
    [(trainer, "save_checkpoint", 2, 0), (trainer.TrainLog, "epoch", 2, 0), (trainer.TrainLog, "update", 1, 1)],
)
def test_ctrl_c_waits_for_the_step_in_progress(toy, monkeypatch, ctrl_c_interrupts, owner, name, epoch, batch):
    original, calls = getattr(owner, name), []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 1:
            signal.raise_signal(signal.SIGINT)
        return original(*arguments)

    monkeypatch.setattr(owner, name, interrupted)
    exp = toy / f"interrupted-{name}"
    command = train_command(toy, exp.name, "--loss", "full", "--num-epochs", "2")
    with pytest.raises(SystemExit) as stopped:
        train.main(command)
    assert stopped.value.code == 130
    progress = load_checkpoint(exp / LAST)["progress"]
    assert (progress["epoch"], progress["batch"], progress["updates"]) == (epoch, batch, len(losses(exp)))
    train.main(command)
    assert [update for update, _ in losses(exp)] == list(range(1, len(losses(exp)) + 1))
    assert [line["epoch"] for line in read_lines(exp / "epochs.jsonl")] == [1, 2]


def test_a_non_finite_loss_is_reported_with_its_cuts_and_skipped(toy, monkeypatch):
    original, calls = updater.hainan_losses, []

    def broken(*arguments):
        result = original(*arguments)
        calls.append(1)
        return replace(result, total=result.total * float("nan")) if len(calls) == 3 else result

    monkeypatch.setattr(updater, "hainan_losses", broken)
    train.main(train_command(toy, "nan", "--loss", "full", "--num-epochs", "1"))
    log = (toy / "nan" / "train.log").read_text()
    assert "1 so far" in log and "loss is not finite; cuts train-" in log
    assert len(losses(toy / "nan")) == len(calls) - 1
    assert read_lines(toy / "nan" / "epochs.jsonl")[-1]["skipped"] == 1
    assert all(torch.isfinite(v).all() for v in load_checkpoint(toy / "nan" / LAST)["model"].values())


@pytest.mark.parametrize(
    "options, message",
    [
        (["--train-cuts", "/none.jsonl.gz"], "no such cut manifest"),
        (["--lang-dir", "/none"], "no tokenizer"),
        (["--device", "cuda:77"], "CUDA devices"),
        (["--device", "abacus"], "abacus"),
        (["--preset", "huge"], "preset is .huge.: choose from tiny"),
        (["--durations", "2,1"], "durations"),
        (["--min-duration", "29"], "no cut|left out"),
    ],
)
def test_bad_options_exit_2(toy, options, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        train.main([*train_command(toy, "bad"), *options])
    assert stopped.value.code == 2
    assert re.search(message, capsys.readouterr().err)


def test_other_dimensions_than_the_checkpoints_are_refused(toy, trained, capsys):
    with pytest.raises(SystemExit):
        train.main(train_command(toy, "trained", "--d-model", "32"))
    assert "d_model" in capsys.readouterr().err


def test_profile_prints_the_time_of_each_part(toy, capsys):
    """Training runs to its end; its sections and "other" add up to the total."""
    train.main(train_command(toy, "profiled", "--num-epochs", "1", "--profile", "true"))
    shown = dict(re.findall(r"^(\w.*?) +([0-9.]+) s", capsys.readouterr().out, re.M))
    total = float(shown.pop("total"))
    assert float(shown.pop("CPU time")) > 0
    assert set(shown) == {
        "data",
        "encoder",
        "predictor + joint",
        "simple loss",
        "transducer loss",
        "CTC loss",
        "backward",
        "optimizer",
        "log",
        "validation",
        "checkpoints",
        "other",
    }
    assert sum(map(float, shown.values())) == pytest.approx(total, abs=0.01 * len(shown))
    assert (toy / "profiled" / "epoch-1.safetensors").exists()


def test_omega_and_pruning_train_with_gapped_durations(toy):
    train.main(
        train_command(
            toy, "gapped", "--durations", "0,1,2,4,8", "--omega", "0.5", "--num-epochs", "1", "--predictor", "stateless"
        )
    )
    assert all(loss == loss for _, loss in losses(toy / "gapped"))
    assert os.path.exists(toy / "gapped" / "epoch-1.safetensors")
