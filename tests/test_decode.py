"""The command that decodes: sweeps, results that grow, failures. On a model that was never trained but talks."""

import json
import re
from dataclasses import replace

import pytest
from lhotse import CutSet

from hainan_k2 import decode
from hainan_k2.bench.decode import random_model
from hainan_k2.config import as_dict
from hainan_k2.formats.checkpoint import save_checkpoint
from hainan_k2.scoring.results import read_recogs
from hainan_k2.search import METHODS
from hainan_k2.text.piece_model import PieceModel
from hainan_k2.text.tokenizer import Tokenizer
from tests.toy import decode_command


@pytest.fixture(scope="module")
def exp(toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("talker")
    model = random_model("tiny", Tokenizer(toy / "lang").vocab_size, seed=1)
    save_checkpoint(
        folder / "epoch-1.safetensors", {"model": model.state_dict(), "model_config": as_dict(model.config)}
    )
    return folder


@pytest.fixture
def run(toy, exp, tmp_path):
    """Decodes the toy's dev set into a folder of its own, in batches of a few."""

    def call(*flags, out="out"):
        options = ["--max-duration", "6", "--out-dir", str(tmp_path / out), *flags]
        decode.main(decode_command(toy, str(exp), *options))
        return tmp_path / out

    return call


def test_a_sweep_has_a_row_and_files_for_every_point(run, capsys):
    pytest.importorskip("k2")
    out = run("--method", "nar-greedy,nbest-ar", "--ar-weight", "0.25,1", "--write", "jsonl")
    table = capsys.readouterr().out
    labels = ["nar-greedy", "nbest-ar ar_weight=0.25", "nbest-ar ar_weight=1"]
    assert [line.split("  ")[0] for line in table.splitlines()[2:5]] == labels
    assert list(json.loads((out / "summary-dev.json").read_text())["methods"]) == labels
    summary = (out / "wer-summary-dev.txt").read_text().splitlines()
    assert sorted(line.split("\t")[0] for line in summary[1:]) == labels
    for weight in ("0.25", "1"):
        single = run("--method", "nbest-ar", "--ar-weight", weight, "--write", "jsonl", out=weight)
        for kind, end in (("recogs-", ".txt"), ("errs-", ".txt"), ("", ".jsonl")):
            point = (out / f"{kind}dev-nbest-ar-ar_weight={weight}{end}").read_text()
            assert point == (single / f"{kind}dev-nbest-ar{end}").read_text()
    first, second = (out / f"dev-nbest-ar-ar_weight={weight}.jsonl" for weight in ("0.25", "1"))
    assert first.read_text() != second.read_text()


def test_the_oracle_is_no_worse_than_any_other_order_of_the_list(run):
    pytest.importorskip("k2")
    out = run("--method", "nbest,nbest-ar,mbr,nbest-oracle")
    methods = json.loads((out / "summary-dev.json").read_text())["methods"]
    wers = {name: figures["wer"] for name, figures in methods.items()}
    assert wers["nbest-oracle"] < min(wers["nbest"], wers["nbest-ar"], wers["mbr"])


def test_all_leaves_oracles_out(run):
    pytest.importorskip("k2")
    texts = json.loads((run("--method", "all") / "summary-dev.json").read_text())["methods"]
    assert {"nar-greedy", "nbest", "mbr"} <= set(texts) and "nbest-oracle" not in texts


def test_a_run_that_is_killed_leaves_what_it_had(run, monkeypatch):
    whole = run("--method", "nar-greedy,ar-greedy")
    complete = read_recogs(whole / "recogs-dev-nar-greedy.txt")
    method, batches = METHODS["ar-greedy"], []

    def killed(model, encoder_out, lens, *arguments):
        if len(batches) == 2:
            raise KeyboardInterrupt
        batches.append(len(lens))
        return method.function(model, encoder_out, lens, *arguments)

    monkeypatch.setitem(METHODS, "ar-greedy", replace(method, function=killed))
    with pytest.raises(KeyboardInterrupt):
        run("--method", "nar-greedy,ar-greedy")
    for name in ("nar-greedy", "ar-greedy"):
        kept = read_recogs(whole / f"recogs-dev-{name}.txt")
        assert len(kept) == sum(batches) < len(complete)
        assert not (whole / f"errs-dev-{name}.txt").exists()
    assert set(read_recogs(whole / "recogs-dev-nar-greedy.txt")) < set(complete)
    assert not (whole / "wer-summary-dev.txt").exists()


def test_a_failed_utterance_is_reported_and_the_others_are_kept(run, tmp_path, monkeypatch, caplog):
    whole = read_recogs(run("--method", "ar-greedy", out="whole") / "recogs-dev-ar-greedy.txt")
    method, lengths = METHODS["ar-greedy"], []

    def frail(model, encoder_out, lens, *arguments):
        lengths.append(int(lens.min()))
        if lengths[0] in lens:
            raise RuntimeError("out of memory\nand more")
        return method.function(model, encoder_out, lens, *arguments)

    monkeypatch.setitem(METHODS, "ar-greedy", replace(method, function=frail))
    with pytest.raises(SystemExit) as stopped:
        run("--method", "nar-greedy,ar-greedy", "--write", "ctm")
    assert stopped.value.code == 1
    failed = re.findall(
        r"ar-greedy failed on utterance (\S+): RuntimeError: out of memory \(.*\)$", caplog.text, flags=re.M
    )
    assert 0 < len(failed) < len(whole)
    assert f"ar-greedy failed on {len(failed)} of {len(whole)} utterances" in caplog.text
    out = tmp_path / "out"
    texts = {name: recognised for name, _, recognised in read_recogs(out / "recogs-dev-ar-greedy.txt")}
    assert texts == {name: "" if name in failed else recognised for name, _, recognised in whole}
    methods = json.loads((out / "summary-dev.json").read_text())["methods"]
    assert {name: figures["failed"] for name, figures in methods.items()} == {"nar-greedy": 0, "ar-greedy": len(failed)}
    assert not any(line.split()[0] in failed for line in (out / "dev-ar-greedy.ctm").read_text().splitlines())


def test_a_folder_that_cannot_be_written_is_one_line(run, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    for out in ("file", "file/out"):
        with pytest.raises(SystemExit) as stopped:
            run("--method", "ar-greedy", out=out)
        err = capsys.readouterr().err.splitlines()
        assert stopped.value.code == 2 and str(tmp_path / "file") in err[-1] and "error: " in err[-1]
        assert not any("Traceback" in line for line in err)


def test_texts_are_scored_as_the_tokenizer_normalises_them(run, toy, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hainan_k2.named_functions._ALLOWED", {})
    (tmp_path / "rules_of_decoding.py").write_text("def first(text):\n    return text[:1].upper() + text[1:]\n")
    content = (toy / "lang" / "bpe.model").read_bytes()
    cuts = CutSet.from_file(toy / "dev.jsonl.gz").subset(first=2)
    for cut in cuts:
        cut.supervisions[0].text = "ALFA, bravo!"
    cuts.to_file(tmp_path / "cuts_dev.jsonl.gz")
    function = "rules_of_decoding:first"
    written = {}
    for name in ("english", "lower", "none", function):
        (tmp_path / "lang").mkdir(exist_ok=True)
        (tmp_path / "lang" / "bpe.model").write_bytes(PieceModel.read(content, "").with_normalisation(name).write())
        options = ["--lang-dir", str(tmp_path / "lang"), "--cuts", str(tmp_path / "cuts_dev.jsonl.gz")]
        options += ["--method", "nar-greedy"]
        if name == function:
            with pytest.raises(SystemExit):
                run(*options)
            assert f"if you trust it, give --normalise {function}" in capsys.readouterr().err
            options += ["--normalise", function]
        results = read_recogs(run(*options) / "recogs-dev-nar-greedy.txt")
        assert all(text and text[:1].isupper() == (name == function) for *_, text in results)
        written[name] = results[0][1]
    assert written == {
        "english": "alfa bravo",
        "lower": "alfa, bravo!",
        "none": "ALFA, bravo!",
        function: "ALFA, bravo!",
    }
