"""transcribe.py: bad arguments, folders of results, several methods, references."""

import io
import json
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from hainan_k2.bench.decode import random_model
from hainan_k2.formats.model_dir import write_model
from hainan_k2.inference.decoded import nearest
from hainan_k2.inference.recognizer import Recognizer
from hainan_k2.inference.window_sizes import WindowConfig
from hainan_k2.scoring.wer import score
from hainan_k2.search import METHODS, SearchConfig
from hainan_k2.search.sweep import make_rows
from hainan_k2.text.tokenizer import Tokenizer
from tests.data.corpus import babble
from tests.inference.test_recognizer import call
from tests.report.pages import data_in
from tests.toy import make_lang

NAMES = ("a.wav", "b c.wav", "b_c.wav")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("talker")
    tokenizer = Tokenizer(make_lang(folder))
    write_model(folder / "model", random_model("tiny", tokenizer.vocab_size, seed=1), tokenizer, "float16", {})
    return folder / "model"


@pytest.fixture(scope="module")
def recognizer(model):
    return Recognizer.load(model, device="cpu")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "audio").mkdir()
    for seed, name in enumerate(NAMES):
        soundfile.write(tmp_path / "audio" / name, babble(16000, seed=seed), 16000)
    return tmp_path / "audio"


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_one_bad_argument_costs_no_other(model, folder, tmp_path, monkeypatch, capsys):
    (folder / "locked").mkdir()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    os.mkfifo(folder / "pipe.wav")
    (folder / "gone.wav").symlink_to(folder / "none.wav")
    long, inside = "x" * 300, folder / "a.wav" / "y.wav"
    assert call("--model", model, long, inside, folder, "--write", "jsonl", "--out-dir", tmp_path / "out") == 1
    assert [line["id"] for line in lines(tmp_path / "out" / "transcripts.jsonl")] == [
        f"{folder}/a.wav",
        f"{folder}/b%20c.wav",
        f"{folder}/b_c.wav",
    ]
    err = capsys.readouterr().err
    assert [line.strip() for line in err[err.index("5 failed:") :].splitlines()[1:]] == [
        f"{long}: File name too long",
        f"{inside}: Not a directory",
        f"{folder}/gone.wav: a link that leads nowhere",
        f"{folder}/locked: folder cannot be read: Permission denied",
        f"{folder}/pipe.wav: a named pipe, not a file",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="names of bytes")
def test_names_that_are_not_utf8(model, folder, tmp_path, monkeypatch, capfd):
    good, bad = (os.fsencode(folder) + name for name in (b"/caf\xe9.wav", b"/mad\xe9.wav"))
    os.rename(os.fsencode(folder / "a.wav"), good)
    with open(bad, "wb") as file:
        file.write(b"RIFFnothing")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(bad + b"\n" + good + b"\n")))
    assert call("--model", model, "-") == 1
    shown = capfd.readouterr()
    assert shown.out.startswith(f"{folder}/caf\\xe9.wav: ")
    assert f"  {folder}/mad\\xe9.wav: not an audio file" in shown.err
    out = tmp_path / "out"
    assert (
        call("--model", model, folder, "--write", "txt,jsonl,srt", "--out-dir", out, "--report", tmp_path / "page.html")
        == 1
    )
    assert [line["id"] for line in lines(out / "transcripts.jsonl")] == [
        f"{folder}/{name}" for name in ("b%20c.wav", "b_c.wav", "caf%E9.wav")
    ]
    assert b"caf\xe9.srt" in os.listdir(os.fsencode(out)) and "caf%E9.wav" in (tmp_path / "page.html").read_text()


def test_a_second_run_loses_nothing(model, folder, tmp_path, capsys):
    command = ("--model", model, "--write", "txt", "--out-dir", tmp_path / "out")
    assert call(*command, folder) == 0
    before = (tmp_path / "out" / "transcripts.txt").read_text()
    capsys.readouterr()
    assert call(*command, folder / "a.wav") == 2
    err = capsys.readouterr().err
    assert "has the results of 3 recordings: --resume continues them, --overwrite" in err and err.count("\n") == 1
    assert (tmp_path / "out" / "transcripts.txt").read_text() == before and before.count("\n") == 3
    assert call(*command, folder / "a.wav", "--overwrite", "true") == 0
    assert (tmp_path / "out" / "transcripts.txt").read_text() == before.splitlines(keepends=True)[0]


def test_several_methods_from_one_pass_of_the_encoder(model, recognizer, folder, tmp_path, monkeypatch, capsys):
    encode, passes = Recognizer.encode, []
    monkeypatch.setattr(Recognizer, "encode", lambda self, batch: passes.append(len(batch)) or encode(self, batch))
    assert (
        call("--model", model, folder, "--method", "sar,ar-greedy", "--write", "txt,srt", "--out-dir", tmp_path / "out")
        == 0
    )
    assert passes == [3]
    for method in ("sar", "ar-greedy"):
        hypotheses = recognizer.transcribe([folder / name for name in NAMES], method)
        expected = [f"{folder}/{name.replace(' ', '%20')} {h.text}" for name, h in zip(NAMES, hypotheses)]
        assert (tmp_path / "out" / f"transcripts.{method}.txt").read_text().splitlines() == expected
        assert (tmp_path / "out" / f"b c.{method}.srt").read_text().startswith("1\n00:00:0")
    capsys.readouterr()
    assert call("--model", model, folder / "a.wav", "--method", "nar-greedy,sar") == 0
    shown = [line.partition(": ")[0] for line in capsys.readouterr().out.splitlines() if ": " in line]
    assert shown == [f"{folder}/a.wav ({method})" for method in ("nar-greedy", "sar")]


def test_options_with_several_values(model, recognizer, folder, tmp_path):
    assert (
        call(
            "--model",
            model,
            folder / "a.wav",
            "--method",
            "sar",
            "--sar-rounds",
            "1,3",
            "--write",
            "txt",
            "--out-dir",
            tmp_path,
        )
        == 0
    )
    for rounds in (1, 3):
        (hypothesis,) = recognizer.transcribe([folder / "a.wav"], "sar", SearchConfig(sar_rounds=rounds))
        assert (
            tmp_path / f"transcripts.sar-sar_rounds={rounds}.txt"
        ).read_text() == f"{folder}/a.wav {hypothesis.text}\n"


def test_all_is_every_method_that_can_run(model, folder, tmp_path):
    assert call("--model", model, folder / "a.wav", "--method", "all", "--write", "txt", "--out-dir", tmp_path) == 0
    labels = {path.name.split(".")[1] for path in tmp_path.glob("transcripts.*.txt")}
    assert labels >= {"ar-greedy", "ar-beam", "nar-greedy", "sar"} and "nbest-oracle" not in labels
    able = {m.name for m in METHODS.values() if not m.oracle and not m.needs and "ctc" not in m.parts}
    assert labels in (able, {name for name in able if not METHODS[name].needs_k2})


def test_a_method_that_fails_costs_no_other(model, folder, tmp_path, monkeypatch, capsys):
    class Broken:
        def __call__(self, *arguments):
            raise RuntimeError("no luck")

    monkeypatch.setitem(METHODS, "sar", METHODS["sar"].__class__(**{**vars(METHODS["sar"]), "function": Broken()}))
    command = ("--model", model, folder / "a.wav", "--method", "sar,ar-greedy", "--write", "txt", "--out-dir", tmp_path)
    assert call(*command) == 1
    assert f"1 failed:\n  {folder}/a.wav: sar: RuntimeError: no luck\n" in capsys.readouterr().err
    assert (tmp_path / "transcripts.sar.txt").read_text() == ""
    assert (tmp_path / "transcripts.ar-greedy.txt").read_text().startswith(f"{folder}/a.wav")
    assert call(*command, "--resume", "true") == 1, "what failed has not become better"
    assert f"1 failed:\n  {folder}/a.wav: sar: RuntimeError: no luck\n" in capsys.readouterr().err


REFERENCES = ("Alfa bravo!", "coda", None)


def test_references_give_decodes_table_and_a_page(model, recognizer, folder, tmp_path, capsys, caplog):
    caplog.set_level("INFO")
    for name, text in zip(NAMES, REFERENCES):
        if text is not None:
            (folder / name).with_suffix(".txt").write_text(text + "\n")
    assert (
        call(
            "--model",
            model,
            folder,
            "--method",
            "sar,ar-greedy",
            "--write",
            "txt",
            "--out-dir",
            tmp_path / "out",
            "--reference",
            ".txt",
            "--report",
            tmp_path / "page.html",
        )
        == 0
    )
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["method", "WER", "%"] and len(rows) == 2
    data = data_in((tmp_path / "page.html").read_text())
    assert data["references"] and data["count"] == 2 and len(data["utterances"]) == 2
    for row, told, method in zip(rows, data["methods"], ("sar", "ar-greedy")):
        hypotheses = recognizer.transcribe([folder / name for name in NAMES[:2]], method)
        scored = score((str(i), ("alfa bravo", "coda")[i], h.text) for i, h in enumerate(hypotheses))
        assert row.split()[:2] == [method, f"{100 * scored.wer:.2f}"] and scored.wer > 0
        assert told["label"] == method and told["wer"] == pytest.approx(scored.wer) and told["search"] > 0
    assert [u["reference"] for u in data["utterances"]] == ["alfa bravo", "coda"]
    assert f"no reference: {folder}/b_c.wav: " in caplog.text
    assert "2 recordings are scored, 1 have no reference; 0 references belong to no recording" in caplog.text


def test_an_oracle_needs_references(model, recognizer, folder, tmp_path, capsys):
    pytest.importorskip("k2")
    command = ("--model", model, folder, "--method", "nbest-oracle,nbest", "--write", "txt", "--out-dir", tmp_path)
    assert call(*command) == 2
    assert "method nbest-oracle needs --reference" in capsys.readouterr().err
    with pytest.raises(ValueError, match="nbest-oracle needs references"):
        recognizer.transcribe([folder / "a.wav"], "nbest-oracle")
    (listed,) = recognizer.transcribe([folder / "a.wav"], "nbest", SearchConfig(nbest=50))
    last = listed.alternatives[-1].text
    assert last != listed.text
    (tmp_path / "text").write_text(f"a {last}\n")
    assert call(*command, "--reference", tmp_path / "text") == 1
    assert (tmp_path / "transcripts.nbest-oracle.txt").read_text() == f"{folder}/a.wav {last}\n"
    assert nearest(listed, last).text == last
    failed = capsys.readouterr().err.partition("2 failed:")[2]
    assert failed.split("\n")[1].strip() == f"{folder}/b c.wav: nbest-oracle: no reference"
    assert (tmp_path / "transcripts.nbest.txt").read_text().count("\n") == 3


def test_a_recogniser_gives_one_result_for_an_input(recognizer):
    with pytest.raises(ValueError, match="method all gives several results"):
        recognizer.transcribe([np.zeros(9000)], "all")
    (result,) = recognizer.stream(["x" * 300])
    assert result.failure == f"{'x' * 300}: File name too long"


def test_an_oracle_of_a_long_recording_fails_alone(recognizer):
    pytest.importorskip("k2")
    audio = [babble(16000 * seconds, seed=1).astype(np.float32) for seconds in (31, 1)]
    rows = make_rows(["nbest-oracle", "sar"])
    for width in (20.0, 60.0):  # a window of 60 s has both in one batch
        wide = Recognizer(recognizer.model, recognizer.tokenizer, windows=WindowConfig(window=width))
        long, short = wide.decode(audio, rows, max_duration=100.0)
        assert long[0].failure == "array 0: nbest-oracle: longer than 30 s: its n-best lists cannot be joined"
        assert long[1].hypothesis and short[1].hypothesis and len(short[0].hypothesis.alternatives) > 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([""], "an empty argument names no audio; the current folder is ."),
        (["x.wav", "--overwrite", "true"], "--overwrite needs --out-dir"),
        (["x.wav", "--method", "sar,magic"], "no method 'magic'"),
        (["x.wav", "--reference", "/none.csv"], "/none.csv: No such"),
        (["x.wav", "--write", "txt", "--out-dir", "/dev/null/x"], "Not a directory"),
        (["x.wav", "--write", "txt", "--out-dir", "x", "--resume", "true", "--overwrite", "true"], "give one of them"),
    ],
)
def test_bad_options_exit_2_with_one_line(model, tmp_path, monkeypatch, arguments, message, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(*arguments, "--model", model) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
