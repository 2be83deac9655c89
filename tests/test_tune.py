"""hainan-tune as a user runs it, on a model that was never trained but talks; decode.py reads what it writes."""

import re

import pytest

from hainan_k2 import decode, tune
from hainan_k2.bench.decode import random_model
from hainan_k2.config import as_dict
from hainan_k2.formats.checkpoint import save_checkpoint
from hainan_k2.text.tokenizer import Tokenizer

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
    rates = [float(rate) for rate in re.findall(r"(\d+\.\d\d) %", report)]
    before, oracle, after = rates
    assert oracle <= after <= before + 0.5 and "tuned on these utterances" in report
    written = out.read_text()
    assert written.count("# ") == 3 and "method: rescore" in written
    assert "num_paths: 6" in written and "blank_penalty: 1.5" in written and "lm_weight: 0.0" in written

    tune.main(command)
    assert out.read_text() == written and capsys.readouterr().out == report

    decode.main([*model_options, "--config", str(out), "--num-workers", "0", "--out-dir", str(tmp_path / "decoded")])
    table = capsys.readouterr().out
    assert f"{after:.2f}" in next(line for line in table.splitlines() if line.startswith("rescore"))


def test_a_recording_too_long_for_a_list_is_named(model_options, tmp_path, monkeypatch, caplog):
    from dataclasses import replace

    monkeypatch.setattr(tune, "METHOD", replace(tune.METHOD, limit=1.0))
    tune.main([*model_options, "--out", str(tmp_path / "best.yaml"), "--num-paths", "3"])
    assert re.search(r"dev-\d+ is left out: \d s, lists are made of up to 1 s", caplog.text)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--cuts", "dev.jsonl.gz"], "--cuts and --out are required"),
        (["--cuts", "missing.jsonl.gz", "--out", "x.yaml", "--model", "released"], "missing.jsonl.gz: no such cut"),
        (["--cuts", "a", "--out", "b", "--seed", "-1"], "seed is -1: it must be at least 0"),
    ],
)
def test_bad_input_is_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as exit:
        tune.main(arguments)
    errors = capsys.readouterr().err
    assert exit.value.code == 2 and message in errors and len(errors.strip().splitlines()) == 1


def test_help_shows_the_options_of_the_lists_alone(capsys):
    with pytest.raises(SystemExit):
        tune.main(["--help"])
    shown = capsys.readouterr().out
    assert "--num-paths" in shown and "--lm-scale" in shown
    assert "--sar-rounds" not in shown and "--ar-weight" not in shown and "--grammar" not in shown
