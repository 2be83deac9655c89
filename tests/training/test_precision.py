"""Half precision: a toy to zero errors, loss scaling, and the scan of the largest batches."""

import pytest
import torch

from hainan_k2 import train
from hainan_k2.config import ModelConfig
from hainan_k2.data.batch import Batch
from hainan_k2.files.jsonl import read_lines
from hainan_k2.formats.checkpoint import LAST, load_checkpoint
from hainan_k2.model.hainan import Hainan
from hainan_k2.stopwatch import Stopwatch
from hainan_k2.training import updater
from hainan_k2.training.objective import LossConfig
from hainan_k2.training.optim import OptimConfig, make_optimizer
from hainan_k2.training.precision import autocast, check_precision, loss_scaler
from hainan_k2.training.progress import TrainingProgress
from hainan_k2.training.ranks import Ranks
from tests.toy import train_command

CPU = torch.device("cpu")


def can_train(precision, predictor="stateless"):
    try:
        check_precision(CPU, precision, predictor)
    except ValueError:
        return False
    return True


HALVES = [precision for precision in ("bfloat16", "float16") if can_train(precision)]


@pytest.mark.parametrize("precision", HALVES)
def test_the_toy_task_is_learned_to_zero_errors(toy, precision):
    options = ["--loss", "full", "--dropout", "0", "--max-duration", "8", "--num-epochs", "22"]
    options += ["--predictor", "lstm" if can_train(precision, "lstm") else "stateless"]
    train.main(train_command(toy, f"half-{precision}", *options, "--precision", precision))
    exp = toy / f"half-{precision}"
    assert min(line["dev_wer"] for line in read_lines(exp / "epochs.jsonl")) == 0
    state = load_checkpoint(exp / LAST)
    assert all(v.dtype in (torch.float32, torch.int64) for v in state["model"].values())
    assert bool(state["loss_scaler"]) == (precision == "float16")


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_what_torch_cannot_do_is_refused(precision):
    newer = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 3)
    assert can_train(precision) == (precision == "bfloat16" or newer)
    if not can_train(precision):
        with pytest.raises(ValueError, match=f"--precision {precision}: torch .* use bfloat16 or float32"):
            check_precision(CPU, precision)
    check_precision(CPU, "float32")


def test_only_float16_scales_the_loss():
    assert [loss_scaler(CPU, p).is_enabled() for p in ("float32", "bfloat16")] == [False, False]
    with autocast(CPU, "float32"):
        assert not torch.is_autocast_cpu_enabled()


class Scaler:
    """A loss scaler that is enabled where torch has none for CPUs, of scale 1; as strict as torch's."""

    def __init__(self):
        self.scales, self.unscaled = [1.0], False

    def is_enabled(self):
        return True

    def scale(self, loss):
        return loss

    def unscale_(self, optimizer):
        if self.unscaled:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        self.unscaled = True

    def step(self, optimizer):
        optimizer.step()

    def update(self, scale=None):
        self.unscaled = False
        self.scales += [scale] if scale is not None else []

    def get_scale(self):
        return self.scales[-1]

    def get_backoff_factor(self):
        return 0.5

    def state_dict(self):
        return {"scale": self.scales[-1]}


def test_a_gradient_that_overflows_lowers_the_scale_and_is_skipped(toy, monkeypatch):
    scaler, original, calls = Scaler(), updater.hainan_losses, []

    def overflow(model, *arguments):
        calls.append(1)
        if len(calls) == 2:
            model.joiner.out.weight.register_hook(lambda gradient: gradient * float("inf"))
        if len(calls) == 3:
            model.joiner.out.weight._backward_hooks.clear()
        return original(model, *arguments)

    monkeypatch.setattr(updater, "loss_scaler", lambda *_: scaler)
    monkeypatch.setattr(updater, "hainan_losses", overflow)
    train.main(train_command(toy, "overflow-half", "--loss", "full", "--num-epochs", "1"))
    assert scaler.scales == [1.0, 0.5]
    state = load_checkpoint(toy / "overflow-half" / LAST)
    assert state["loss_scaler"] == {"scale": 0.5} and state["progress"]["skipped"] == 1
    assert "gradient is not finite" in (toy / "overflow-half" / "train.log").read_text()
    assert all(torch.isfinite(v).all() for v in state["model"].values())


def test_the_update_after_a_batch_norm_that_overflows_is_made(monkeypatch):
    scaler, original, calls = Scaler(), updater.hainan_losses, []

    def overflow(model, *arguments):
        losses = original(model, *arguments)
        calls.append(1)
        if len(calls) == 1:
            model.encoder.layers[0].conv.batch_norm.running_var.fill_(float("inf"))
        return losses

    monkeypatch.setattr(updater, "loss_scaler", lambda *_: scaler)
    monkeypatch.setattr(updater, "hainan_losses", overflow)
    model, progress = Hainan(ModelConfig.preset("tiny", vocab_size=9)), TrainingProgress()
    ranks, optimizer = Ranks(), make_optimizer(model, OptimConfig())
    made = updater.Updater(model, optimizer, LossConfig(), 5.0, "float32", 1, ranks, Stopwatch())
    lens, labels = torch.tensor([80, 64]), torch.tensor([3, 2])
    batch = Batch(torch.randn(2, 80, 80), lens, ("a", "b"), ("", ""), (0.8, 0.6), torch.ones(2, 3).long(), labels)
    values = [made.update([batch], 5, progress) for _ in range(2)]
    assert values[0] is None and values[1] is not None and progress.skipped == 1


def test_the_largest_batches_are_run_before_training_and_change_nothing(toy):
    for exp, scan in (("scanned", "true"), ("unscanned", "false")):
        train.main(train_command(toy, exp, "--num-epochs", "1", "--scan-batches", scan))
    log = (toy / "scanned" / "train.log").read_text()
    assert log.count("largest batches: ") == 2 and "(single longest cut, e.g. train-" in log
    assert log.index("largest batches") < log.index("epoch 1 update")
    assert "largest batches" not in (toy / "unscanned" / "train.log").read_text()
    assert read_lines(toy / "scanned" / "updates.jsonl") == read_lines(toy / "unscanned" / "updates.jsonl")


def test_lack_of_memory_is_reported_before_the_first_update(toy, monkeypatch, capsys):
    def needs_much(*arguments):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:66] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(updater, "hainan_losses", needs_much)
    with pytest.raises(SystemExit) as stopped:
        train.main(train_command(toy, "too-large", "--scan-batches", "true"))
    error = capsys.readouterr().err.splitlines()[-1]
    assert stopped.value.code == 2 and "out of memory for a batch of" in error and "lower --max-duration" in error
    assert not (toy / "too-large" / "updates.jsonl").exists()
