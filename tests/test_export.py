"""export.py: which weights it averages, what it prints, and the running average that training keeps."""

import json
import shutil

import numpy as np
import pytest
import torch

from hainan_k2 import Recognizer, export, import_model, train
from hainan_k2.bench.decode import random_model
from hainan_k2.config import ModelConfig, as_dict
from hainan_k2.formats.average import RunningAverage
from hainan_k2.formats.checkpoint import load_checkpoint, save_checkpoint
from hainan_k2.formats.model_dir import LM, has_lm, read_decoding, read_model, read_own_lm, write_model
from hainan_k2.formats.onnx_writer import write_onnx
from hainan_k2.model.hainan import Hainan
from hainan_k2.text.tokenizer import Tokenizer
from hainan_k2.training import trainer
from tests.formats.test_whisper_weights import ct2_file, encoder, keyless
from tests.oracles.lm import arpa_of
from tests.toy import ROOT, train_command

JFK = ROOT / "tests" / "data" / "jfk.flac"
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


@pytest.fixture(scope="module")
def nemo_model(toy, tmp_path_factory):
    """A model directory of a random model that takes NeMo's features."""
    tokenizer = Tokenizer(toy / "lang")
    torch.manual_seed(0)
    config = ModelConfig.preset("tiny", vocab_size=tokenizer.vocab_size, features="nemo", durations=(0, 1, 2, 4))
    model = Hainan(config).eval()
    with torch.no_grad():
        for parameter in (*model.predictor.parameters(), model.joiner.out.weight):
            parameter.copy_(torch.randn(parameter.shape))
        model.predictor.embed.weight[0] = 0.0
    folder = tmp_path_factory.mktemp("nemo") / "model"
    write_model(folder, model, tokenizer, "float32", {})
    return folder


def test_the_encoder_is_moved_towards_the_one_that_was_fine_tuned(toy, nemo_model, tmp_path, capsys):
    tokenizer, weights = Tokenizer(toy / "lang"), tmp_path / "model.bin"
    sizes = {"encoder": "whisper", "whisper_dim": 8, "whisper_layers": 1, "whisper_heads": 2}
    model = Hainan(ModelConfig.preset("tiny", vocab_size=tokenizer.vocab_size, **sizes)).eval()
    write_model(tmp_path / "tuned", model, tokenizer, "float32", {"updates": 7})
    pretrained = keyless(encoder())
    weights.write_bytes(ct2_file(pretrained))
    options = ["--whisper-weights", str(weights), "--precision", "float32", "--out-dir", str(tmp_path / "mixed")]
    export.main(["--model", str(tmp_path / "tuned"), *options, "--whisper-share", "0.25"])
    assert "its encoder with a share of 0.25 of model.bin" in capsys.readouterr().out
    mixed, _, provenance = read_model(tmp_path / "mixed")
    assert provenance == {"updates": 7, "whisper_weights": "model.bin", "whisper_share": 0.25, "precision": "float32"}
    for name, value in mixed.state_dict().items():
        own, part = model.state_dict()[name], pretrained.get(name[len("encoder.whisper.") :])
        wanted = own if part is None else 0.75 * own + 0.25 * part
        torch.testing.assert_close(value, wanted, atol=1e-3, rtol=1e-3)
    with pytest.raises(SystemExit):
        export.main(["--model", str(nemo_model), *options])
    assert f"--whisper-weights {weights}: the encoder of {nemo_model} is not Whisper's" in capsys.readouterr().err


def test_onnx_folder_of_a_model_directory_and_its_check(nemo_model, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    out = tmp_path / "onnx"
    export.main(["--model", str(nemo_model), "--format", "onnx", "--out-dir", str(out), "--check", str(JFK)])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][0] == f"{out}:" and lines[0][-4:] == ["for", "sherpa-onnx", "and", "onnx-asr"]
    assert [line[0] for line in lines[2:7]] == ["encoder", "decoder", "joiner", "decoder_joint-model", "nar"]
    rows = {" ".join(line[:-2]): line[-2:] for line in lines[9:]}
    assert rows["ar-greedy"][0] == rows["nar-greedy"][0] == "equal"
    assert 0 < float(rows["encoder frames"][0]) < 1e-4 < float(rows["encoder frames"][1])
    assert (out / "nar.int8.onnx").is_file() and (out / "vocab.txt").is_file()


def test_check_exits_1_where_the_graphs_find_other_tokens(nemo_model, tmp_path, capsys, monkeypatch):
    pytest.importorskip("onnxruntime")

    def write_another(folder, model, *rest):
        other = Hainan(model.config).eval()
        other.load_state_dict(model.state_dict(), strict=False)
        with torch.no_grad():
            other.joiner.out.bias[3] += 50.0
        return write_onnx(folder, other, *rest)

    monkeypatch.setattr(export, "write_onnx", write_another)
    with pytest.raises(SystemExit) as stopped:
        export.main(
            ["--model", str(nemo_model), "--format", "onnx", "--out-dir", str(tmp_path / "onnx"), "--check", str(JFK)]
        )
    assert stopped.value.code == 1 and "ar-greedy                  differs" in capsys.readouterr().out


def test_a_nemo_archive_comes_back_as_the_same_model(nemo_model, tmp_path, capsys):
    export.main(["--model", str(nemo_model), "--format", "nemo", "--out-dir", str(tmp_path / "nemo")])
    path = tmp_path / "nemo" / "model.nemo"
    assert capsys.readouterr().out == f"{path}: {nemo_model}, {path.stat().st_size / 1e6:.1f} MB\n"
    import_model.main([str(path), "--out", str(tmp_path / "back")])
    texts = [Recognizer.load(name).transcribe([JFK])[0].text for name in (nemo_model, tmp_path / "back")]
    assert texts[0] == texts[1] and len(texts[0].split()) > 5


def test_checkpoints_are_written_as_graphs(exp, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    export.main(
        ["--exp-dir", str(exp), "--avg", "2", "--format", "onnx", "--runtime", "none", "--out-dir", str(tmp_path / "o")]
    )
    assert "epochs 4, 5, for programs of your own" in capsys.readouterr().out
    assert (tmp_path / "o" / "encoder.onnx").is_file() and not (tmp_path / "o" / "config.json").exists()


@pytest.mark.parametrize(
    "options, message",
    [
        (["--format", "onnx"], "cannot run this model: it approximates NeMo's features"),
        (["--format", "nemo"], "features fbank"),
        (["--format", "onnx", "--precision", "int8"], "--precision is an option of --format model, not of onnx"),
        (["--format", "nemo", "--check", "a.wav"], "--check is an option of --format onnx, not of nemo"),
        (["--runtime", "none"], "--runtime is an option of --format onnx"),
        (["--format", "onnx", "--runtime", "none,onnx-asr"], "give runtimes, or none alone"),
        (["--format", "onnx", "--runtime", "magic"], "choose from sherpa-onnx, onnx-asr, none"),
        (["--format", "tflite"], "choose from model, onnx, nemo"),
        (["--model", "released", "--avg", "2"], "choose among checkpoints"),
        (["--model", "/none"], "no such model directory"),
    ],
)
def test_formats_refuse_with_one_line(exp, tmp_path, options, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        export.main(["--exp-dir", str(exp), "--out-dir", str(tmp_path / "m"), *options])
    err = capsys.readouterr().err
    assert stopped.value.code == 2 and message in err and err.count("\n") == 1
    assert not (tmp_path / "m").exists()


def test_a_language_model_and_default_methods_are_put_into_the_directory(exp, toy, tmp_path):
    tokenizer = Tokenizer(toy / "lang")
    words = [*tokenizer.pieces[1:], "</s>"]
    arpa = arpa_of({(word,): 1 / len(words) for word in words}).write(tmp_path / "lm.arpa")
    _, _, provenance = call(exp, tmp_path / "m", "--lm", arpa, "--default-method", "viterbi-lm,ar-greedy")
    assert provenance["lm"] == "lm.arpa" and read_own_lm(tmp_path / "m", tokenizer).order == 1
    assert read_decoding(tmp_path / "m").methods == ("viterbi-lm", "ar-greedy")
    export.main(["--model", str(tmp_path / "m"), "--out-dir", str(tmp_path / "copy"), "--precision", "float32"])
    assert read_decoding(tmp_path / "copy") == read_decoding(tmp_path / "m")
    assert (tmp_path / "copy" / LM).read_bytes() == (tmp_path / "m" / LM).read_bytes()
    call(exp, tmp_path / "bare", "--lm", "none")
    assert not has_lm(tmp_path / "bare") and read_decoding(tmp_path / "bare").methods == ()


@pytest.mark.parametrize(
    "options, message",
    [
        (["--default-method", "best"], "--default-method best: there are ar-greedy"),
        (["--format", "onnx", "--lm", "lm.arpa"], "--lm is an option of --format model, not of onnx"),
        (["--lm", "missing.arpa"], "missing.arpa: No such file"),
    ],
)
def test_bad_language_models_and_methods(exp, tmp_path, options, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        export.main(["--exp-dir", str(exp), "--out-dir", str(tmp_path / "m"), *options])
    assert stopped.value.code == 2 and message in capsys.readouterr().err
