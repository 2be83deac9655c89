"""end_to_end.py: whole decodings take turns; ratios are to the last method; batches of a size hold all utterances."""

import subprocess
import sys

import pytest
import torch

from tests.recipes.shell import SHARED

sys.path.insert(0, str(SHARED))

import end_to_end
from end_to_end import Spent, in_batches

from hainan_k2.bench.decode import random_model
from hainan_k2.data.batch import Batch


def test_report():
    warm_up = Spent(9.0, 9.0, 12.4)
    timed = [[Spent(cpu, 2 * cpu) for cpu in seconds] for seconds in ([2.0, 3.0, 2.2], [2.0, 2.0, 2.0])]
    spent = {"nar-greedy": [warm_up, *timed[0]], "ctc-greedy": [Spent(9.0, 9.0), *timed[1]]}
    rows = end_to_end.report(spent, audio=440.0)  # scipy's t at 2 degrees: 4.303
    assert rows[0] == ["nar-greedy", "2.200", "4.400", "0.01000", "1.100 (0.543 - 1.857)", "12"]
    assert rows[1] == ["ctc-greedy", "2.000", "4.000", "0.00909", "1.000 (1.000 - 1.000)", ""]


def test_methods_take_turns(monkeypatch):
    calls = []

    def decode(model, batches, method, watched):
        calls.append(method + "!" * watched)
        return Spent(len(calls), 0.0)

    monkeypatch.setattr(end_to_end, "decode", decode)
    spent = end_to_end.measure(None, [], ["a", "b"], 3)
    assert calls == ["a!", "b!", "b", "a", "a", "b", "b", "a"]
    assert {method: [s.cpu for s in own] for method, own in spent.items()} == {"a": [1, 4, 5, 8], "b": [2, 3, 6, 7]}


def batch_of(lens, encoded=False):
    features = [torch.full((n, 80), float(n)) for n in lens]
    names = tuple(f"u{n}" for n in lens)
    padded = torch.nn.utils.rnn.pad_sequence(features, batch_first=True)
    return Batch(padded, torch.tensor(lens), names, names, tuple(n / 100 for n in lens), encoded=encoded)


@pytest.mark.parametrize("encoded", [False, True])
def test_batches_of_a_size(encoded):
    batches = [batch_of([50, 20, 70], encoded), batch_of([30, 10], encoded)]
    found = in_batches(batches, 2)
    assert [b.ids for b in found] == [("u10", "u20"), ("u30", "u50"), ("u70",)]
    assert [b.features.shape for b in found] == [(2, 20, 80), (2, 50, 80), (1, 70, 80)]
    for batch in found:
        assert batch.encoded == encoded and batch.texts == batch.ids
        for row, length, seconds in zip(batch.features, batch.lens.tolist(), batch.seconds):
            assert (row[:length] == length).all() and not row[length:].any() and seconds == length / 100
    assert in_batches(batches, 0) == batches


def test_encoder_and_search_are_timed(monkeypatch):
    model = random_model("tiny", 20)
    cpu, wall = iter([1.0, 3.5]), iter([10.0, 20.0])
    monkeypatch.setattr(end_to_end.time, "process_time", lambda: next(cpu))
    monkeypatch.setattr(end_to_end.time, "monotonic", lambda: next(wall))
    encoded = []
    model.encoder.register_forward_hook(lambda module, inputs, outputs: encoded.append(len(inputs[0])))
    batch = Batch(torch.randn(2, 160, 80), torch.tensor([160, 80]), ("a", "b"), ("", ""), (1.6, 0.8))
    assert end_to_end.decode(model, [batch, batch], "nar-greedy") == Spent(2.5, 10.0) and encoded == [2, 2]


def test_errors_are_one_line(tmp_path):
    for options, message in (
        (["--cuts", ""], "are required"),
        (["--cuts", "x", "--exp-dir", "y"], "no checkpoint"),
        (["--cuts", "x", "--threads", "0"], "threads"),
    ):
        words = [sys.executable, SHARED / "end_to_end.py", *options]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("methods", [["nar-greedy"], ["nar-greedy", "ctc-greedy"]])
def test_every_turn_has_a_number(methods):
    model = random_model("tiny", 20)
    spent = end_to_end.measure(model, [batch_of([80])], methods, 2)
    assert list(spent) == methods and all(len(own) == 3 and min(own)[:2] >= (0, 0) for own in spent.values())
    assert all(first.peak_mb is None or first.peak_mb >= 0 for first, *_ in spent.values())
    assert all(len(row) == 6 for row in end_to_end.report(spent, 0.8))
