"""bench.py loss: every method gives gradients, and what it reports follows from its measurements."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hainan_k2 import bench
from hainan_k2.bench import loss as bench_loss
from hainan_k2.bench.loss import Case, LossBenchConfig, make_step
from hainan_k2.fsa.losses import backends
from tests.fsa.losses.batches import BACKENDS

SIZES = {"encoder_dim": 6, "predictor_dim": 5, "joiner_dim": 4, "durations": (0, 1, 2)}
TINY = "--batch 2 --labels 4 --vocab 7 --durations 0,1,2 --joiner-dim 4 --repeats 1 --device cpu"
CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "method", ["pruned-3", "log-softmax", *(f"{k}-{b}" for k in ("full", "loss") for b in BACKENDS)]
)
def test_every_method_gives_gradients(method):
    gradients = make_step(Case(method, 2, 12, 5, 7), LossBenchConfig(**SIZES), CPU)()
    assert all(g.isfinite().all() and g.abs().sum() > 0 for g in gradients)


def test_backends_and_wide_bands_are_the_same_problem():
    """All methods get the same inputs; with a band of all labels the pruned loss has the gradient of the full one."""
    config, sizes = LossBenchConfig(**SIZES), (2, 12, 5, 7)
    by_method = {name: make_step(Case(name, *sizes), config, CPU)() for name in ("full-torch", "pruned-6", "pruned-5")}
    # The joint's own weights (from the third on) take no part in the simple loss.
    for a, b in zip(by_method["full-torch"][2:], by_method["pruned-6"][2:]):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(by_method["full-torch"][-1], by_method["pruned-5"][-1], atol=1e-6)


def test_report(monkeypatch, tmp_path, capsys):
    """Times that grow as T^2 for the full loss and as T for the pruned one."""

    def measure(make, arguments, small, repeats, device):
        case = arguments[0]
        power = 2 if case.method.startswith("full") else 1
        return 1e-6 * case.frames**power, 1000 * case.frames

    monkeypatch.setattr(bench_loss, "measure", measure)
    options = f"--frames 50,100,200,400,6400 --methods full-torch,pruned-5 --out-dir {tmp_path} --max-gib 0.001"
    bench.main(["loss", *TINY.split(), *options.split()])
    report = json.loads((tmp_path / "bench-loss.json").read_text())
    rows = {(row["method"], row["frames"]): row for row in report["rows"]}
    assert report["exponents"]["full-torch"] == pytest.approx({"seconds": 2.0, "bytes": 1.0})
    assert report["exponents"]["pruned-5"] == pytest.approx({"seconds": 1.0, "bytes": 1.0})
    assert rows["full-torch", 200]["seconds_ratio"] == 1
    assert rows["pruned-5", 200]["seconds_ratio"] == pytest.approx(1 / 200)
    assert rows["pruned-5", 200]["bytes_ratio"] == pytest.approx(1.0)
    assert ("full-torch", 6400) not in rows
    assert (tmp_path / "bench-loss.png").read_bytes()[:4] == b"\x89PNG"
    printed = capsys.readouterr().out
    assert "full-torch at B, T, U, V = (2, 6400, 4, 7): left out" in printed
    assert "pruned-5: time ~ T^1.00, memory ~ T^1.00 from T = 100 on" in printed


def test_without_k2_the_rest_is_measured(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(backends, "why_no_k2", lambda: "k2 is not installed")
    monkeypatch.setattr(bench_loss, "measure", lambda *arguments: (1.0, 1))
    bench.main(["loss", *TINY.split(), "--frames", "9", "--out-dir", str(tmp_path)])
    rows = json.loads((tmp_path / "bench-loss.json").read_text())["rows"]
    assert "full-k2: left out, backend='k2': k2 is not installed" in capsys.readouterr().out
    assert {"full-torch", "loss-torch", "pruned-5"} < {r["method"] for r in rows}
    assert not [r for r in rows if r["method"].endswith("k2")] and rows[0]["seconds_ratio"] == 1


def test_runs_as_a_script_from_anywhere(tmp_path):
    """A real measurement, in new processes: the gradient of the logits is as large as the logits."""
    script = Path(bench.__file__).resolve().parents[1] / "bench.py"
    command = f"loss {TINY} --batch 16 --frames 500 --labels 9 --vocab 100 --methods loss-torch --out-dir out"
    done = subprocess.run(
        [sys.executable, str(script), *command.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    (row,) = json.loads((tmp_path / "out" / "bench-loss.json").read_text())["rows"]
    logits = 4 * 16 * 500 * 10 * 103
    assert logits < row["bytes"] < 3 * logits and row["seconds"] > 0
    assert row["seconds_ratio"] is None
    assert "loss-torch" in done.stdout


@pytest.mark.parametrize(
    "argv, message",
    [
        (["nothing"], "no command 'nothing'; there are "),
        (["loss", "--methods", "full-cuda"], "no method 'full-cuda'; there are pruned-S, full-k2"),
        (["loss", "--methods", "pruned-0"], "no method 'pruned-0'"),
        (["loss", "--frames", "0"], "frames is 0: it must be at least 1"),
        (["loss", "--frames="], "--frames has no value"),
        (["loss", "--vocab", "1"], "vocab is 1"),
        (["loss", "--repeats", "0"], "repeats is 0"),
        (["loss", "--device", "abacus"], "abacus"),
        (["loss", "--no-such-option", "1"], "--no-such-option"),
    ],
)
def test_user_errors_end_with_one_line_and_exit_code_2(argv, message, capsys):
    with pytest.raises(SystemExit) as stop:
        bench.main(argv)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as stop:
        bench.main(["--help"])
    assert stop.value.code == 0 and "loss" in capsys.readouterr().out
