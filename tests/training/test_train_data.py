"""Training on data that are damaged, vanish or are of another kind: named, counted, skipped, or refused in one line."""

import gzip
import json
import shutil

import numpy as np
import pytest
import soundfile
import torch
from lhotse import CutSet

from hainan_k2 import decode, train
from hainan_k2.data.config import DataConfig
from hainan_k2.data.datamodule import eval_loader
from hainan_k2.data.extractors import Fbank
from hainan_k2.files.jsonl import read_lines
from hainan_k2.formats.checkpoint import LAST, load_checkpoint, load_model
from hainan_k2.training import trainer, updater
from tests.toy import train_command

ONCE = ("--loss", "full", "--num-epochs", "1")


@pytest.fixture
def own(toy_task, tmp_path):
    """The toy corpus in a folder that a test may spoil."""
    shutil.copytree(toy_task / "lang", tmp_path / "lang")
    for name in ("train", "dev"):
        shutil.copytree(toy_task / name, tmp_path / name)
        with (
            gzip.open(toy_task / f"{name}.jsonl.gz", "rt") as stream,
            gzip.open(tmp_path / f"{name}.jsonl.gz", "wt") as copy,
        ):
            copy.write(stream.read().replace(str(toy_task), str(tmp_path)))
    return tmp_path


def spoil(path, value=float("nan")):
    """One bad sample in a WAV of floats."""
    samples, rate = soundfile.read(path, dtype="float32")
    samples[len(samples) // 2] = value
    soundfile.write(path, samples, rate, subtype="FLOAT")


def log_of(exp):
    return (exp / "train.log").read_text()


def stopped(command, capsys):
    """The one line with which a command ends with exit code 2."""
    with pytest.raises(SystemExit) as ended:
        command[0](command[1])
    err = capsys.readouterr().err
    line = err.splitlines()[-1]
    assert ended.value.code == 2 and "Traceback" not in err and ": error: " in line
    return line


def weights(exp):
    return load_model([exp / "epoch-1.safetensors"])[0].state_dict()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_samples_that_are_not_finite_are_named_counted_and_skipped(own, value):
    spoil(own / "train" / "train-007.wav", value)
    spoil(own / "dev" / "dev-003.wav", value)
    train.main(train_command(own, "e", *ONCE))
    log = log_of(own / "e")
    assert "cut train-007 left out (1 so far, --max-unreadable 20): 1 of " in log and "samples are not finite" in log
    assert "cut dev-003 left out (2 so far" in log
    (epoch,) = read_lines(own / "e" / "epochs.jsonl")
    assert (epoch["unreadable"], epoch["skipped"]) == (2, 0) and epoch["dev_loss"] > 0 and epoch["dev_wer"] >= 0
    assert all(torch.isfinite(v).all() for v in weights(own / "e").values())


def test_recordings_that_vanish_in_mid_epoch(own, monkeypatch):
    original, gone = trainer.Trainer._step, ["train-001", "train-050", "train-099"]

    def step(self, *arguments):
        for name in gone if self.progress.updates == 1 else []:
            (own / "train" / f"{name}.wav").unlink()
        return original(self, *arguments)

    monkeypatch.setattr(trainer.Trainer, "_step", step)
    train.main(train_command(own, "e", "--loss", "full", "--num-epochs", "2"))
    log = log_of(own / "e")
    for name in gone:
        assert log.count(f"cut {name} left out") == 1
    assert "train-001.wav" in log
    assert read_lines(own / "e" / "epochs.jsonl")[-1]["unreadable"] == 3


def test_a_batch_of_which_nothing_can_be_read_keeps_its_place(own):
    for path in (own / "train").glob("*.wav"):
        if path.stem != "train-000":
            path.unlink()
    train.main(train_command(own, "e", *ONCE, "--max-unreadable", "119"))
    assert len(read_lines(own / "e" / "updates.jsonl")) == 1
    assert read_lines(own / "e" / "epochs.jsonl")[-1]["unreadable"] == 119


@pytest.mark.parametrize("workers", ["0", "1"])
def test_more_than_allowed_end_training_with_their_names(own, capsys, workers):
    for n in range(3):
        (own / "train" / f"train-00{n}.wav").unlink()
    command = train_command(own, "e", *ONCE, "--max-unreadable", "2", "--num-workers", workers)
    line = stopped((train.main, command), capsys)
    assert "3 cuts cannot be used, 2 are allowed" in line and all(f"train-00{n}: " in line for n in range(3))
    assert load_checkpoint(own / "e" / LAST)["progress"]["epoch"] == 1


def test_decoding_refuses_what_it_cannot_read(own, capsys):
    train.main(train_command(own, "e", *ONCE))
    capsys.readouterr()
    (own / "dev" / "dev-003.wav").unlink()
    for workers in ("0", "1"):
        line = stopped(
            (
                decode.main,
                [
                    "--exp-dir",
                    str(own / "e"),
                    "--cuts",
                    str(own / "dev.jsonl.gz"),
                    "--lang-dir",
                    str(own / "lang"),
                    "--num-workers",
                    workers,
                ],
            ),
            capsys,
        )
        assert "1 cuts cannot be used" in line and "dev-003" in line


def test_stored_features_that_are_not_finite_or_cut_short(own):
    cuts = (
        CutSet.from_file(own / "dev.jsonl.gz")
        .compute_and_store_features(Fbank(), own / "fbank", num_jobs=1, progress_bar=False)
        .to_eager()
    )
    broken = {}
    for cut in cuts:
        features = cut.load_features()
        if cut.id == "dev-003":
            features[5, 7] = np.nan
        broken[cut.id] = features[:-3] if cut.id == "dev-004" else features
    loader = eval_loader(cuts, DataConfig(num_workers=0))
    strategy, read = loader.dataset.input_strategy, type(cuts[0]).load_features
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(cuts[0]), "load_features", lambda cut: broken[cut.id])
        batches = list(loader)
    assert read is type(cuts[0]).load_features and strategy.left_out is not None
    left_out = dict(pair for batch in batches for pair in batch["left_out"])
    assert left_out["dev-003"] == "its features are not finite"
    assert "frames of features; its manifest says" in left_out["dev-004"] and len(left_out) == 2
    assert len([name for batch in batches for name in batch["supervisions"]["cut_id"]]) == 18


@pytest.mark.parametrize("place", ["encoder.pre_encode", "encoder.layers.0.conv.depthwise_conv"])
def test_a_forward_pass_that_is_nan_leaves_no_trace(toy, monkeypatch, place):
    """The NaN goes through batch norms, whose statistics the forward pass moves before the loss is known."""
    original, calls = updater.hainan_losses, []

    def poisoned(model, *arguments):
        calls.append(1)
        handles = []
        if len(calls) in (2, 4):
            part = dict(model.named_modules())[place]
            handles.append(
                part.register_forward_hook(
                    lambda _module, _inputs, out: (out[0] * np.nan, out[1]) if isinstance(out, tuple) else out * np.nan
                )
            )
        result = original(model, *arguments)
        for handle in handles:
            handle.remove()
            assert any(not torch.isfinite(b).all() for b in model.buffers()), "the statistics should be hit"
        return result

    monkeypatch.setattr(updater, "hainan_losses", poisoned)
    exp = toy / f"poisoned-{place}"
    train.main(train_command(toy, exp.name, *ONCE, "--average-every", "1"))
    assert log_of(exp).count("update skipped") == 2
    for state in (load_checkpoint(exp / LAST)["model"], load_checkpoint(exp / LAST)["average"]["mean"], weights(exp)):
        assert all(torch.isfinite(v).all() for v in state.values())
    (epoch,) = read_lines(exp / "epochs.jsonl")
    assert epoch["skipped"] == 2 and epoch["dev_loss"] > 0 and epoch["dev_wer"] is not None


def test_statistics_that_overflow_under_a_finite_loss_are_not_kept(toy, monkeypatch):
    original, calls = updater.hainan_losses, []

    def overflow(model, *arguments):
        calls.append(1)
        result = original(model, *arguments)
        if len(calls) == 2:
            model.encoder.layers[0].conv.batch_norm.running_var.fill_(float("inf"))
        return result

    monkeypatch.setattr(updater, "hainan_losses", overflow)
    train.main(train_command(toy, "overflow", *ONCE))
    assert "a batch norm is not finite; cuts train-" in log_of(toy / "overflow")
    assert all(torch.isfinite(v).all() for v in weights(toy / "overflow").values())


def test_a_dev_loss_that_is_not_finite_is_reported_as_such(toy, monkeypatch):
    from hainan_k2.training import validation

    original, calls = validation.transducer_losses, []

    def broken(*arguments):
        calls.append(1)
        losses = original(*arguments)
        return {name: value * float("nan") if len(calls) == 1 else value for name, value in losses.items()}

    monkeypatch.setattr(validation, "transducer_losses", broken)
    train.main(train_command(toy, "dev-nan", "--loss", "full", "--num-epochs", "2"))
    lines = (toy / "dev-nan" / "epochs.jsonl").read_text().splitlines()
    first, second = (json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON")) for line in lines)
    assert first["dev_loss"] is first["dev_wer"] is first["dev_wer_nar"] is None
    assert second["dev_loss"] > 0 and second["dev_wer"] is not None
    assert "the dev loss is not finite" in log_of(toy / "dev-nan") and "dev-0" in log_of(toy / "dev-nan")
    assert (toy / "dev-nan" / "curves.png").is_file()


def test_filter_banks_are_refused_by_encoders_of_other_features(own, capsys):
    CutSet.from_file(own / "dev.jsonl.gz").compute_and_store_features(
        Fbank(), own / "fbank", num_jobs=1, progress_bar=False
    ).to_file(own / "fbank.jsonl.gz")
    wanted = "of type hainan-fbank, 80 bins; this encoder expects hainan-log-mel, 80 bins: give cuts without features"
    line = stopped(
        (decode.main, ["--model", "released", "--cuts", str(own / "fbank.jsonl.gz"), "--out-dir", str(own / "out")]),
        capsys,
    )
    assert wanted in line
    fbank = str(own / "fbank.jsonl.gz")
    for options in (["--train-cuts", fbank], ["--dev-cuts", fbank]):
        command = train_command(own, "w", *ONCE, "--preset", "whisper-tiny", *options)
        assert wanted in stopped((train.main, command), capsys)


@pytest.mark.parametrize(
    "option",
    [
        ["--loss", "prunned"],
        ["--precision", "bf16"],
        ["--keep-epochs", "0"],
        ["--save-every", "0"],
        ["--lr", "-1"],
        ["--mask-prob", "7"],
    ],
)
def test_options_that_trained_silently(toy, capsys, option):
    line = stopped((train.main, train_command(toy, "options", *option)), capsys)
    assert option[0][2:].replace("-", "_") + " is " in line and not (toy / "options").exists()


def test_a_folder_that_cannot_be_written_is_one_line(toy, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    line = stopped((train.main, [*train_command(toy, "x"), "--exp-dir", str(tmp_path / "file" / "exp")]), capsys)
    assert "file/exp: Not a directory" in line
