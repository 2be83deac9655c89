"""end_to_end.py: whole decodings take turns; ratios are to the last method."""

import subprocess
import sys

import pytest
import torch

from tests.recipes.shell import SHARED

sys.path.insert(0, str(SHARED))

import end_to_end

from hainan_k2.bench.decode import random_model
from hainan_k2.data.batch import Batch


def test_report():
    lines = end_to_end.report({"nar-greedy": [2.0, 3.0, 2.2], "ctc-greedy": [2.0, 2.0, 2.0]})
    assert lines[0].startswith("nar-greedy      2.200 s   ratio 1.100 (0.543 - 1.857)")  # scipy's t at 2 degrees: 4.303
    assert lines[1].startswith("ctc-greedy      2.000 s   ratio 1.000 (1.000 - 1.000)")


def test_methods_take_turns(monkeypatch):
    calls = []
    monkeypatch.setattr(end_to_end, "decode", lambda model, batches, method: calls.append(method) or len(calls))
    seconds = end_to_end.measure(None, [], ["a", "b"], 3)
    assert calls == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert seconds == {"a": [4, 5, 8], "b": [3, 6, 7]}


def test_encoder_and_search_are_timed(monkeypatch):
    model, clock = random_model("tiny", 20), iter([1.0, 3.5])
    monkeypatch.setattr(end_to_end.time, "process_time", lambda: next(clock))
    encoded = []
    model.encoder.register_forward_hook(lambda module, inputs, outputs: encoded.append(len(inputs[0])))
    batch = Batch(torch.randn(2, 160, 80), torch.tensor([160, 80]), ("a", "b"), ("", ""), (1.6, 0.8))
    assert end_to_end.decode(model, [batch, batch], "nar-greedy") == 2.5 and encoded == [2, 2]


def test_errors_are_one_line(tmp_path):
    for options, message in ((["--cuts", ""], "are required"), (["--cuts", "x", "--exp-dir", "y"], "no checkpoint")):
        words = [sys.executable, SHARED / "end_to_end.py", *options]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("methods", [["nar-greedy"], ["nar-greedy", "ctc-greedy"]])
def test_every_turn_has_a_number(methods):
    model = random_model("tiny", 20)
    batch = Batch(torch.randn(1, 80, 80), torch.tensor([80]), ("a",), ("",), (0.8,))
    seconds = end_to_end.measure(model, [batch], methods, 2)
    assert list(seconds) == methods and all(len(own) == 2 and min(own) >= 0 for own in seconds.values())
