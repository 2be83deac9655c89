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
from hainan_k2.model.norm import MaskedBatchNorm
from tests.toy import ROOT, assert_trained_as, losses, train_command

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


def test_accumulated_batches_are_one_larger_batch(toy, even, monkeypatch):
    """Batch norms with fixed statistics: theirs are of each batch."""

    def fixed(self, x, padding=None):
        return torch.nn.functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)

    monkeypatch.setattr(MaskedBatchNorm, "forward", fixed)
    train.main(command(toy, even, "large", 6, "--num-epochs", "3"))
    train.main(command(toy, even, "accumulated", 3, "--num-epochs", "3", "--accumulate", "2"))
    assert_same_training(toy / "accumulated", toy / "large")
    progress = load_checkpoint(toy / "accumulated" / LAST)["progress"]
    assert (progress["updates"], progress["epoch"], progress["batch"]) == (12, 4, 0)


def test_ranks_and_accumulated_batches_draw_the_same_masks(toy, even, doubled):
    """Two processes with two batches each per update, and one with four: same cuts, masks and dropout."""
    options = ["--init-from", str(doubled / LAST), "--freeze-encoder", "true", "--mask-prob", "0.5"]
    options += ["--joiner-dropout", "0.2", "--num-epochs", "4"]
    train.main(command(toy, even, "four", 3, *options, "--accumulate", "4"))
    ended = run(*command(toy, even, "two-by-two", 3, *options, "--accumulate", "2"))
    assert ended.returncode == 0, ended.stderr
    assert_same_training(toy / "two-by-two", toy / "four")


def test_the_killed_rank_is_started_again_and_training_ends_as_if_nothing_had_happened(toy):
    options = ["--loss", "full", "--num-epochs", "3", "--save-every", "2", "--spec-augment", "true"]
    assert run(*train_command(toy, "whole-ranks", *options)).returncode == 0
    exp = toy / "killed-rank"
    with open(toy / "killed-rank.err", "w") as errors:
        agent = subprocess.Popen(
            torchrun(*train_command(toy, exp.name, *options), restarts=1),
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd="/",
        )
    deadline = time.monotonic() + PATIENCE
    while not (exp / LAST).exists() or len(losses(exp)) < 5:
        assert agent.poll() is None and time.monotonic() < deadline, "the run ended or hung too early"
        time.sleep(0.02)
    ranks = {child.environ().get("RANK"): child for child in psutil.Process(agent.pid).children()}
    ranks["1"].send_signal(signal.SIGKILL)
    assert 0 < len(losses(exp)) < len(losses(toy / "whole-ranks")), "it should be killed midway"
    assert agent.wait(timeout=PATIENCE) == 0, (toy / "killed-rank.err").read_text()
    assert "continuing from" in (exp / "train.log").read_text()
    assert_trained_as(toy / "whole-ranks", exp)


def test_the_failure_of_a_rank_ends_all_with_its_reason(toy, tmp_path):
    """A cut of the second batch, which rank 1 reads, has lost its audio."""
    cuts = list(CutSet.from_file(toy / "train.jsonl.gz"))[:30]
    cuts[-1].recording.sources[0].source = str(tmp_path / "lost.wav")
    CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl.gz")
    options = ["--shuffle", "false", "--num-buckets", "1", "--max-unreadable", "0", "--num-epochs", "1"]
    ended = run(*train_command(toy, "lost", *options), "--train-cuts", str(tmp_path / "cuts.jsonl.gz"))
    assert ended.returncode != 0
    reported = re.findall(r"train.py: error: (.*)", ended.stderr)
    assert len(reported) == 2 and all("1 cuts cannot be used, 0 are allowed: train-029" in line for line in reported)
    assert sum(line.startswith("rank 1: ") for line in reported) == 1  # in the other rank
    assert load_checkpoint(toy / "lost" / LAST)["progress"]["updates"] == len(losses(toy / "lost"))


def test_heads_without_a_gradient_do_not_stop_several_processes(toy, even):
    """A CTC model has no predictor and no joint network; --ctc-scale 0 leaves the CTC head out."""
    for exp, options in (("ctc", ["--objective", "ctc"]), ("no-ctc", ["--ctc-scale", "0"])):
        ended = run(*command(toy, even, exp, 3, "--num-epochs", "1", *options))
        assert ended.returncode == 0, ended.stderr
        assert len(losses(toy / exp)) == 4
