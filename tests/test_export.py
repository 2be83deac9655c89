"""export.py: which weights it averages, what it prints, and the running average that training keeps."""

import json
import shutil

import numpy as np
import pytest
import torch

from hainan_k2 import export, train
from hainan_k2.bench.decode import random_model
from hainan_k2.config import as_dict
from hainan_k2.formats.average import RunningAverage
from hainan_k2.formats.checkpoint import load_checkpoint, save_checkpoint
from hainan_k2.formats.model_dir import read_model
from hainan_k2.text.tokenizer import Tokenizer
from hainan_k2.training import trainer
from tests.toy import train_command

WERS = {1: 0.5, 2: 0.2, 3: 0.4, 4: 0.2, 5: 0.3}


@pytest.fixture(scope="module")
def exp(toy, tmp_path_factory):
    """Five epochs of a model that walks at random, without a running average."""
    folder = tmp_path_factory.mktemp("exp")
    model = random_model("tiny", Tokenizer(toy / "lang").vocab_size)
    for epoch in WERS:
        with torch.no_grad():
            model.joiner.out.bias.add_(torch.randn(model.joiner.out.bias.shape) * 0.1)
        save_checkpoint(
            folder / f"epoch-{epoch}.safetensors",
            {
                "model": model.state_dict(),
                "model_config": as_dict(model.config),
                "progress": {"updates": 10 * epoch},
                "provenance": {"commit": "abc", "options": {"lang_dir": str(toy / "lang"), "lr": 0.1}},
            },
        )
    (folder / "epochs.jsonl").write_text(
        "".join(json.dumps({"epoch": epoch, "dev_wer": wer}) + "\n" for epoch, wer in WERS.items())
    )
    return folder


def call(exp, out, *options):
    export.main(["--exp-dir", str(exp), "--out-dir", str(out), "--precision", "float32", *options])
    return read_model(out)


@pytest.mark.parametrize(
    "options, epochs",
    [
        ([], [5]),
        (["--avg", "2"], [4, 5]),
        (["--epoch", "3", "--avg", "3"], [1, 2, 3]),
        (["--best", "true"], [4]),
        (["--best", "true", "--avg", "3"], [2, 4, 5]),
        (["--best", "true", "--avg", "2", "--epoch", "3"], [2, 3]),
    ],
)
def test_the_epochs_that_are_averaged(exp, tmp_path, options, epochs):
    model, _, provenance = call(exp, tmp_path / "m", *options)
    states = [load_checkpoint(exp / f"epoch-{n}.safetensors")["model"] for n in epochs]
    for name, value in model.state_dict().items():
        np.testing.assert_allclose(
            value.numpy(), np.mean([s[name].double().numpy() for s in states], axis=0), rtol=1e-6, atol=1e-7
        )
    assert provenance["averaged"].split(" ", 1)[1] == ", ".join(map(str, epochs))
    assert provenance["commit"] == "abc" and provenance["options"] == {"lang_dir": "lang", "lr": 0.1}
    assert provenance["updates"] == 10 * epochs[-1] and provenance["precision"] == "float32"


def test_size_and_word_error_rates_are_told(exp, toy, tmp_path, capsys):
    export.main(
        [
            "--exp-dir",
            str(exp),
            "--out-dir",
            str(tmp_path / "m"),
            "--precision",
            "int8",
            "--compare",
            str(toy / "dev.jsonl.gz"),
            "--method",
            "nar-greedy",
        ]
    )
    first, head, row = capsys.readouterr().out.splitlines()
    weights = (tmp_path / "m" / "model.safetensors").stat().st_size
    assert first.startswith(f"{tmp_path / 'm'}: epoch 5, int8, ") and float(first.split()[-2]) >= weights // 1e5 / 10
    _, _, provenance = read_model(tmp_path / "m")
    wer = provenance["wer"]
    assert wer["cuts"] == "dev.jsonl.gz" and "int8" in head
    assert row.split() == [
        "nar-greedy",
        f"{wer['percent_as_float32']['nar-greedy']:.2f}",
        f"{wer['percent']['nar-greedy']:.2f}",
    ]


@pytest.mark.parametrize(
    "options, message",
    [
        (["--precision", "int4"], "choose from float32, float16, bfloat16, int8"),
        (["--avg", "9"], "epochs up to 5"),
        (["--best", "true", "--avg", "9"], "has 5 such checkpoints"),
        (["--use-averaged-model", "true"], "no running average"),
        (["--best", "true", "--use-averaged-model", "true"], "give one of them"),
        (["--method", "magic"], "ar-greedy, "),
        (["--lang-dir", "/none"], "no tokenizer"),
        (["--exp-dir", "/none"], "no checkpoint"),
    ],
)
def test_bad_options_exit_2_with_one_line(exp, tmp_path, options, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        call(exp, tmp_path / "m", *options)
    err = capsys.readouterr().err
    assert stopped.value.code == 2 and message in err and err.count("\n") == 1
    assert not (tmp_path / "m").exists()


def test_the_average_of_all_updates_of_some_epochs_of_a_resumed_training(toy, tmp_path, monkeypatch):
    samples = []

    class Recording(RunningAverage):
        def update(self, model, updates):
            super().update(model, updates)
            samples.append({name: value.clone() for name, value in model.state_dict().items()})

    monkeypatch.setattr(trainer, "RunningAverage", Recording)
    options = ["--loss", "full", "--num-epochs", "3", "--average-every", "1"]
    exp = toy / "averaged"
    train.main(train_command(toy, "averaged", *options))
    shutil.copy(exp / "epoch-2.safetensors", exp / "last.safetensors")  # as if it had been killed there
    del samples[load_checkpoint(exp / "last.safetensors")["progress"]["updates"] :]
    train.main(train_command(toy, "averaged", *options))
    ends = [load_checkpoint(exp / f"epoch-{n}.safetensors")["progress"]["updates"] for n in (1, 2, 3)]
    assert len(samples) == ends[2] > ends[1] > ends[0]
    for avg, part in ((1, samples[ends[1] :]), (2, samples[ends[0] :]), (3, samples)):
        model, _, provenance = call(exp, tmp_path / str(avg), "--use-averaged-model", "true", "--avg", str(avg))
        assert provenance["averaged"] == f"samples after every update of epochs {4 - avg} to 3"
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                expected = np.mean([s[name].double().numpy() for s in part], axis=0)
                np.testing.assert_allclose(value.numpy(), expected, rtol=1e-6, atol=1e-7)
