"""Training in several processes, started by torchrun as users start it: the same updates as one process makes."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from lhotse import CutSet

from hainan_k2 import train
from hainan_k2.files.jsonl import read_lines
from hainan_k2.formats.checkpoint import LAST, load_checkpoint
from tests.toy import ROOT, train_command

PATIENCE = 1800  # seconds until a run counts as hung
# Nothing random, and no bias whose gradient is rounding error, which AdamW would make a step of.
EXACT = ["--dropout", "0", "--predictor-dropout", "0", "--joiner-dropout", "0", "--mask-prob", "0", "--bias", "false"]
EXACT += ["--shuffle", "false", "--num-buckets", "1"]


def torchrun(*arguments, processes=2, restarts=0):
    """A command that starts train.py in several processes. torch 1.13 on Python 3.11 cannot do without -r and -t."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "-r", "1", "-t", "1"]
    launcher += [f"--nproc_per_node={processes}", f"--max_restarts={restarts}"]
    return [*launcher, str(ROOT / "hainan_k2" / "train.py"), *arguments]


def run(*arguments, processes=2, restarts=0):
    command = torchrun(*arguments, processes=processes, restarts=restarts)
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd="/")


def losses(exp_dir):
    return [(line["update"], line["loss"]) for line in read_lines(exp_dir / "updates.jsonl")]


def assert_same_training(ours: Path, theirs: Path):
    (updates, values), (expected_updates, expected) = zip(*losses(ours)), zip(*losses(theirs))
    assert updates == expected_updates and len(updates) > 5
    assert values == pytest.approx(expected, rel=1e-5)
    ours, theirs = (load_checkpoint(folder / LAST) for folder in (ours, theirs))
    assert ours["progress"]["audio_seconds"] == pytest.approx(theirs["progress"]["audio_seconds"])
    for name, value in theirs["model"].items():
        torch.testing.assert_close(ours["model"][name], value, rtol=0, atol=1e-4, msg=name)


@pytest.fixture(scope="module")
def even(toy):
    """Train cuts of one length, so that doubled batches have the cuts of two; as many as 4 batches of 6."""
    path = toy / "even.jsonl.gz"
    two_words = [cut for cut in CutSet.from_file(toy / "train.jsonl.gz") if len(cut.supervisions[0].text.split()) == 2]
    CutSet.from_cuts(two_words[:24]).to_file(path)
    return path


def command(toy, even, exp, seconds, *options):
    """Arguments of train.py with batches of 3 cuts for 3 seconds, of 6 for 6 seconds."""
    return [*train_command(toy, exp, *EXACT, *options), "--train-cuts", str(even), "--max-duration", str(seconds)]


@pytest.fixture(scope="module")
def doubled(toy, even):
    train.main(command(toy, even, "doubled", 6, "--num-epochs", "3"))
    assert len(losses(toy / "doubled")) == 12
    return toy / "doubled"


def test_two_processes_train_as_one_with_the_doubled_batch(toy, even, doubled):
    ended = run(*command(toy, even, "two", 3, "--num-epochs", "3"))
    assert ended.returncode == 0, ended.stderr
    assert_same_training(toy / "two", doubled)
    ours, theirs = (read_lines(folder / "epochs.jsonl")[-1] for folder in (toy / "two", doubled))
    assert ours["dev_loss"] == pytest.approx(theirs["dev_loss"], rel=1e-4)
    assert len((toy / "two" / "epochs.jsonl").read_text().splitlines()) == 3  # one rank writes
