"""hainan-tune as a user runs it, on a model that was never trained but talks; decode.py reads what it writes."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from lhotse import CutSet

from hainan_k2 import decode, export, transcribe, tune
from hainan_k2.bench.decode import random_model
from hainan_k2.config import as_dict
from hainan_k2.formats.checkpoint import save_checkpoint
from hainan_k2.formats.model_dir import read_decoding
from hainan_k2.inference.recognizer import Recognizer
from hainan_k2.lang import train_lm
from hainan_k2.search import METHODS
from hainan_k2.text.tokenizer import Tokenizer
from hainan_k2.tuning import axes

pytest.importorskip("k2")


@pytest.fixture(scope="module")
def model_options(toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("talker")
    model = random_model("tiny", Tokenizer(toy / "lang").vocab_size, seed=1)
    save_checkpoint(
        folder / "epoch-1.safetensors", {"model": model.state_dict(), "model_config": as_dict(model.config)}
    )
    options = {"--exp-dir": folder, "--lang-dir": toy / "lang", "--cuts": toy / "dev.jsonl.gz", "--max-duration": 6}
    return [str(word) for pair in options.items() for word in pair]


def test_decoding_with_the_tuned_weights_has_the_error_rate_that_was_found(model_options, tmp_path, capsys):
    out = tmp_path / "best.yaml"
    command = [*model_options, "--out", str(out), "--num-paths", "6", "--blank-penalty", "1.5"]
    tune.main(command)
    report = capsys.readouterr().out
    listed, oracle, before, after = (float(rate) for rate in re.findall(r"(\d+\.\d\d) %", report))
    assert oracle <= after <= before and oracle <= listed and "tuned on these utterances" in report
    written = out.read_text()
    assert written.count("# ") == 4 and "method: rescore" in written and "<svg" in (tmp_path / "best.svg").read_text()
    assert "num_paths: 6" in written and "blank_penalty: 1.5" in written and "lm_weight: 0.0" in written

    tune.main(command)
    assert out.read_text() == written and capsys.readouterr().out == report

    decode.main([*model_options, "--config", str(out), "--num-workers", "0", "--out-dir", str(tmp_path / "decoded")])
    table = capsys.readouterr().out
    assert f"{after:.2f}" in next(line for line in table.splitlines() if line.startswith("rescore"))


def test_a_recording_too_long_for_a_list_is_named(model_options, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(METHODS, "rescore", replace(METHODS["rescore"], limit=1.0))
    tune.main([*model_options, "--out", str(tmp_path / "best.yaml"), "--num-paths", "3"])
    assert re.search(r"dev-\d+ is left out: \d s, rescore searches up to 1 s at once", caplog.text)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--cuts", "dev.jsonl.gz"], "--cuts and --out are required"),
        (["--cuts", "missing.jsonl.gz", "--out", "x.yaml", "--model", "released"], "missing.jsonl.gz: no such cut"),
        (["--cuts", "a", "--out", "b", "--seed", "-1"], "seed is -1: it must be at least 0"),
        (["--cuts", "a", "--out", "b", "--method", "best"], "method is 'best': choose from ar-greedy, ar-beam"),
        (["--cuts", "a", "--out", "b", "--model", "released", "--method", "graph"], "graph needs --graph"),
    ],
)
def test_bad_input_is_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as exit:
        tune.main(arguments)
    errors = capsys.readouterr().err
    assert exit.value.code == 2 and message in errors and len(errors.strip().splitlines()) == 1


def test_help_shows_the_options_of_the_method_alone(capsys):
    with pytest.raises(SystemExit):
        tune.main(["--help", "--method", "nbest-lm"])
    shown = capsys.readouterr().out
    assert "--num-paths" in shown and "--lm-scale" in shown and "--store" in shown
    assert "--sar-rounds" not in shown and "--ar-weight" not in shown and "--grammar" not in shown


@pytest.fixture(scope="module")
def language_model(toy, tmp_path_factory):
    text, arpa = toy / "text.txt", tmp_path_factory.mktemp("lm") / "lm.arpa"
    texts = [line.text for cut in CutSet.from_file(toy / "train.jsonl.gz") for line in cut.supervisions]
    text.write_text("\n".join(texts))
    train_lm.main(["--text", str(text), "--lang-dir", str(toy / "lang"), "--order", "2", "--arpa", str(arpa)])
    return str(arpa)


@pytest.fixture
def few_points(monkeypatch):
    """Three values of few options: these tests are not about how good the weights are."""
    few = [axis for axis in axes.AXES if axis.name in ("lm_scale", "ar_weight", "token_bonus")]
    monkeypatch.setattr(axes, "AXES", [replace(axis, step=(axis.high - axis.low) / 2) for axis in few])


@pytest.mark.usefixtures("few_points")
@pytest.mark.parametrize("method", ["viterbi", "viterbi-lm", "nbest-lm", "nbest-ar"])
def test_every_kind_of_method_is_tuned_and_decodes_as_it_was_tuned(
    method, model_options, language_model, tmp_path, capsys
):
    out, resources = tmp_path / "best.yaml", ["--lm", language_model] if method.endswith("-lm") else []
    tune.main([*model_options, "--method", method, "--out", str(out), "--num-paths", "4", *resources])
    report = capsys.readouterr().out
    before, after = (float(rate) for rate in re.findall(r"(\d+\.\d\d) %", report))
    assert after <= before and f"method: {method}" in out.read_text()
    decode.main([*model_options, "--config", str(out), "--num-workers", "0", "--out-dir", str(tmp_path / "decoded")])
    table = capsys.readouterr().out
    assert f"{after:.2f}" in next(line for line in table.splitlines() if line.startswith(method))


@pytest.mark.usefixtures("few_points")
def test_a_model_directory_keeps_the_weights(model_options, language_model, toy, tmp_path, capsys, caplog):
    folder, copy, out = tmp_path / "model", tmp_path / "copy", tmp_path / "best.yaml"
    export.main([*model_options[:4], "--out-dir", str(folder)])
    cuts = ["--cuts", str(toy / "dev.jsonl.gz"), "--max-duration", "6"]
    lm = ["--method", "viterbi-lm", "--lm", language_model]
    tune.main(["--model", str(folder), *cuts, *lm, "--top-k", "3", "--out", str(out), "--store"])
    assert f"stored in {folder}, for viterbi-lm with lm" in capsys.readouterr().out
    export.main(["--model", str(folder), "--out-dir", str(copy)])
    section = json.loads((copy / "config.json").read_text())["decoding"]
    assert section == json.loads((folder / "config.json").read_text())["decoding"]
    (setting,) = section["settings"]
    assert setting["method"] == "viterbi-lm" and setting["resources"] == ["lm"] and setting["options"]["top_k"] == 3

    def decoded(name, *options):
        decode.main([*options, *cuts, *lm, "--num-workers", "0", "--out-dir", str(tmp_path / name)])
        return (tmp_path / name / "recogs-dev-viterbi-lm.txt").read_text()

    tune.main([*model_options, *lm, "--top-k", "3", "--out", str(out), "--store"])
    exp_dir = model_options[1]
    assert json.loads(Path(exp_dir, "decoding.json").read_text())["decoding"] == section
    export.main([*model_options[:4], "--out-dir", str(tmp_path / "exported")])
    assert json.loads((tmp_path / "exported" / "config.json").read_text())["decoding"] == section
    Path(exp_dir, "decoding.json").unlink()

    caplog.set_level("INFO")
    stored = decoded("stored", "--model", str(copy))
    assert stored == decoded("given", "--model", str(folder), "--config", str(out))
    assert "as stored with the model; options that you give override them" in caplog.text
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in setting["options"].items()]
    assert decoded("again", "--model", str(copy), *flags, "--token-bonus", "9") != stored

    recognizer = Recognizer.load(copy, device="cpu")
    audio = str(next(iter(CutSet.from_file(toy / "dev.jsonl.gz"))).recording.sources[0].source)
    (by_default,) = recognizer.transcribe([audio], "viterbi-lm", resources=recognizer.resources(lm=language_model))
    transcribe.main([audio, "--model", str(copy), *lm])
    assert by_default.text in capsys.readouterr().out
    with pytest.raises(SystemExit):
        tune.main(["--model", "released", *cuts, "--method", "viterbi", "--out", str(out), "--store"])
    assert "the released model cannot be changed" in capsys.readouterr().err


def test_confidences_are_calibrated_without_weights_to_tune(model_options, toy, tmp_path, capsys):
    folder, out = tmp_path / "model", tmp_path / "best.yaml"
    export.main([*model_options[:4], "--out-dir", str(folder)])
    common = ["--model", str(folder), "--cuts", str(toy / "dev.jsonl.gz"), "--max-duration", "6", "--out", str(out)]
    tune.main([*common, "--method", "nar-greedy", "--store"])
    report = capsys.readouterr().out
    assert "expected calibration error" in report and f"stored in {folder}, for nar-greedy with no" in report
    assert "method: nar-greedy" in out.read_text() and not out.with_suffix(".svg").exists()
    tune.main([*common, "--method", "viterbi", "--store", "--token-bonus", "1", "--calibrate-only"])
    nar, viterbi = read_decoding(folder).settings
    assert nar.options == {} and viterbi.options == {"token_bonus": 1.0} and viterbi.calibration is not None
    tune.main([*common, "--method", "viterbi", "--store", "--calibrate-only"])
    assert read_decoding(folder).settings == (nar, viterbi), "the stored bonus is kept"

    def confidences(*options):
        decode.main(["--model", str(folder), *common[2:6], "--method", "nar-greedy", "--num-workers", "0", *options])
        shown = capsys.readouterr().out
        lines = (tmp_path / "decoded").glob("*nar-greedy.jsonl")
        return shown, [w["confidence"] for path in lines for line in path.open() for w in json.loads(line)["words"]]

    shown, calibrated = confidences("--write", "jsonl", "--out-dir", str(tmp_path / "decoded"))
    assert "nar-greedy: expected calibration error" in shown
    config = json.loads((folder / "config.json").read_text())
    del config["decoding"]
    (folder / "config.json").write_text(json.dumps(config))
    _, raw = confidences("--write", "jsonl", "--out-dir", str(tmp_path / "decoded"))
    assert calibrated == pytest.approx([nar.calibration(c) for c in raw]) and raw != calibrated
