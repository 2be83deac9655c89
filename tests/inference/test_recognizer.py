"""Recognizer and transcribe.py on a model that was never trained but talks: inputs of every kind, files that fail."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile

import hainan_k2
from hainan_k2 import decode, transcribe
from hainan_k2.bench.decode import random_model
from hainan_k2.formats import model_dir as model_dirs
from hainan_k2.formats.model_dir import write_model
from hainan_k2.frontend.audio import read_audio, resample
from hainan_k2.inference.recognizer import Recognizer
from hainan_k2.text.tokenizer import Tokenizer
from tests.data.corpus import babble
from tests.test_without_k2 import Without
from tests.toy import ROOT, make_lang

JFK = ROOT / "tests" / "data" / "jfk.flac"
SECONDS = (1.3, 0.4, 2.0, 0.03)


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
    """Four recordings and what is none, in a folder and one below it."""
    (tmp_path / "audio" / "more calls").mkdir(parents=True)
    for i, seconds in enumerate(SECONDS):
        name = ("a.flac", "b.WAV", "more calls/a.ogg", "more calls/c d.wav")[i]
        soundfile.write(
            tmp_path / "audio" / name, babble(int(16000 * seconds), seed=i), 16000, format=name.split(".")[-1].upper()
        )
    (tmp_path / "audio" / "notes.doc").write_text("no audio")
    return tmp_path / "audio"


def plain(hypothesis):
    """All of a result that must not depend on its company; numbers in the last bits may."""
    return (
        hypothesis.text,
        hypothesis.tokens and [(t.id, t.frame, t.duration) for t in hypothesis.tokens],
        [(w.text, w.start, w.end) for w in hypothesis.words],
    )


@pytest.mark.parametrize("method", ["ar-greedy", "nar-greedy", "sar"])
def test_results_are_in_order_and_do_not_depend_on_the_batch(recognizer, folder, method):
    files = [folder / "a.flac", folder / "more calls" / "c d.wav", folder / "more calls" / "a.ogg", folder / "b.WAV"]
    alone = [plain(recognizer.transcribe([file], method)[0]) for file in files]
    assert len({text for text, _, _ in alone if text}) >= 3, "their order should be seen"
    for max_duration in (0, 3, 60):
        together = recognizer.transcribe(files, method, max_duration=max_duration)
        assert [plain(h) for h in together] == alone


def test_arrays_of_any_kind_are_what_files_are(recognizer, tmp_path):
    samples = babble(24000, seed=7).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    expected = plain(recognizer.transcribe([tmp_path / "a.wav"])[0])
    stereo = np.stack([samples * 2, np.zeros_like(samples)], axis=1)  # channels are averaged
    for array in (samples, samples.astype(np.float64), stereo):
        assert plain(recognizer.transcribe([array])[0]) == expected
    integers = np.round(samples * 32768).astype(np.int16)
    assert plain(recognizer.transcribe([integers])[0]) == plain(recognizer.transcribe([integers / 32768.0])[0])
    low = resample(samples, 16000, 8000)
    soundfile.write(tmp_path / "low.wav", low, 8000, subtype="FLOAT")
    hypothesis = recognizer.transcribe([low], sampling_rate=8000)[0]
    assert plain(hypothesis) == plain(recognizer.transcribe([str(tmp_path / "low.wav")])[0])


def test_times_lie_within_the_audio(recognizer):
    hypothesis = recognizer.transcribe([read_audio(JFK)])[0]
    assert hypothesis.words and hypothesis.text == " ".join(word.text for word in hypothesis.words)
    assert all(0 <= word.start <= word.end <= 11.0 for word in hypothesis.words)


@pytest.mark.parametrize("method", ["ar-greedy", "nar-greedy", "sar"])
def test_without_k2(model, recognizer, method, tmp_path):
    shown = Without(tmp_path, "missing").command("transcribe", JFK, "--model", model, "--method", method)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith(f"{JFK}: {recognizer.transcribe([JFK], method)[0].text}\n")


@pytest.mark.parametrize(
    "audio, message",
    [
        (["/none.wav"], "/none.wav: no such file"),
        ([np.zeros(100)], r"array 0: 6.2 ms of audio \(100 samples"),
        ([np.zeros((2, 3, 4))], r"shape \(2, 3, 4\)"),
        ([np.full(9000, np.nan)], "9000 of 9000 samples are not finite"),
        ([np.zeros(9000, np.uint8)], "uint8"),
        ([np.zeros(9000), np.zeros(0), "/none.wav"], "array 1.*and 1 more failed"),
        ("a.wav", "is a list"),
    ],
)
def test_what_cannot_be_read_is_named(recognizer, audio, message):
    with pytest.raises(ValueError, match=message):
        recognizer.transcribe(audio)


def test_what_a_method_needs_is_named(recognizer):
    with pytest.raises(ValueError, match="no method 'magic'"):
        recognizer.transcribe([np.zeros(9000)], "magic")
    with pytest.raises(ValueError, match="viterbi-lm needs --lm"):
        recognizer.transcribe([np.zeros(9000)], "viterbi-lm")


def test_released_is_the_models_own_folder_or_a_clear_line(model, monkeypatch):
    monkeypatch.setattr(model_dirs, "RELEASED", model.parent / "none")
    with pytest.raises(ValueError, match="came without a released one"):
        hainan_k2.Recognizer.load()
    monkeypatch.setattr(model_dirs, "RELEASED", model)
    assert hainan_k2.Recognizer.load("released").tokenizer.vocab_size == 40


def call(*arguments):
    """transcribe.py's exit code."""
    try:
        transcribe.main([str(a) for a in arguments])
    except SystemExit as stopped:
        return stopped.code
    return 0


def test_words_and_times_of_files_folders_and_patterns_are_printed(model, folder, recognizer, capsys):
    assert call("--model", model, folder / "more calls", folder / "*.*", folder / "a.flac", "--method", "sar") == 0
    shown = capsys.readouterr().out.splitlines()
    files = [folder / "more calls" / "a.ogg", folder / "more calls" / "c d.wav", folder / "a.flac", folder / "b.WAV"]
    expected = []
    for file, hypothesis in zip(files, recognizer.transcribe(files, "sar")):
        expected += [f"{file}: {hypothesis.text}"]
        expected += [f"{w.start:9.2f} {w.end:8.2f} {w.confidence:6.2f}  {w.text}" for w in hypothesis.words]
    assert shown == expected


def test_standard_input_gives_each_result_before_the_next_path(model, folder):
    process = subprocess.Popen(
        [sys.executable, ROOT / "hainan_k2" / "transcribe.py", "-", "--model", model],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for name in ("a.flac", "b.WAV"):
        process.stdin.write(f"{folder / name}\n")
        process.stdin.flush()
        line = process.stdout.readline()
        while ": " not in line:
            line = process.stdout.readline()
        assert line.startswith(f"{folder / name}: ")
    _, log = process.communicate()
    assert process.returncode == 0 and "2 files" in log


def test_failures_are_listed_and_cost_no_other(model, folder, tmp_path, capsys):
    (folder / "bad.wav").write_bytes(b"RIFFnothing")
    (tmp_path / "empty").mkdir()
    code = call(
        "--model",
        model,
        folder,
        "/none.flac",
        tmp_path / "empty",
        "--write",
        "txt,jsonl,ctm,srt,vtt",
        "--out-dir",
        tmp_path / "out",
    )
    shown = capsys.readouterr()
    assert code == 1 and shown.out == ""
    tail = shown.err[shown.err.index("3 failed:") :].splitlines()[1:]
    assert [line.split(": ")[0].strip() for line in tail] == [
        f"{folder / 'bad.wav'}",
        "/none.flac",
        f"{tmp_path / 'empty'}",
    ]
    out = tmp_path / "out"
    lines = [json.loads(line) for line in (out / "transcripts.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [
        f"{folder}/{name}" for name in ("a.flac", "b.WAV", "more%20calls/a.ogg", "more%20calls/c%20d.wav")
    ]
    assert [line.partition(" ")[2] for line in (out / "transcripts.txt").read_text().splitlines()] == [
        line["text"] for line in lines
    ]
    assert (out / "more calls" / "c d.vtt").read_text().startswith("WEBVTT") and (out / "a.srt").exists()


def test_subtitles_of_the_same_name_are_not_overwritten(model, folder, tmp_path, capsys):
    other = tmp_path / "a.wav"
    soundfile.write(other, babble(9000, seed=5), 16000)
    assert call("--model", model, folder / "a.flac", other, "--write", "srt", "--out-dir", tmp_path / "out") == 1
    error = f"{other}: its subtitles would have the same file name as those of {folder / 'a.flac'}"
    assert error in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "no audio given"),
        (["x.wav", "--method", "magic"], "no method 'magic'"),
        (["x.wav", "--write", "doc", "--out-dir", "o"], "--write doc"),
        (["x.wav", "--write", "txt"], "go together"),
        (["x.wav", "--resume", "true"], "--resume needs --out-dir"),
        (["x.wav", "--model", "/none"], "no such model"),
        (["x.wav", "--loud", "1"], "--loud"),
        (["x.wav", "--lm", "/none.arpa"], "/none.arpa"),
    ],
)
def test_bad_options_exit_2_with_one_line(model, arguments, message, capsys):
    code = call(*(arguments if "--model" in arguments else [*arguments, "--model", model]))
    err = capsys.readouterr().err
    assert code == 2 and message in err and err.count("\n") == 1


OUT = ("--write", "txt,ctm,jsonl,srt", "--max-duration", "0")
KILLED = """
import os, signal, sys
from hainan_k2 import transcribe
from hainan_k2.inference.recognizer import Recognizer
original, calls = Recognizer.encode, []
def encode(self, batch):
    calls.append(1)
    if len(calls) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, batch)
Recognizer.encode = encode
transcribe.main(sys.argv[1:])
"""


def test_killed_midway_nothing_is_lost_and_resume_does_the_rest(model, folder, tmp_path, monkeypatch, capsys):
    for i in range(8):
        soundfile.write(folder / f"z{i}.wav", babble(8000, seed=i), 16000)
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert call("--model", model, folder, *OUT, "--out-dir", whole) == 0
    done = subprocess.run(
        [sys.executable, "-c", KILLED, folder, "--model", model, *OUT, "--out-dir", out], cwd=ROOT, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL
    lines = out / "transcripts.txt"
    assert (whole / "transcripts.txt").read_text().startswith(lines.read_text())
    assert lines.read_text().count("\n") == 5
    with open(lines, "a") as file:  # a result that was written and not noted, and one that was cut off
        file.write(f"{folder}/z4.wav words\n{folder}/half a li")
    encoded = []
    original = Recognizer.encode
    monkeypatch.setattr(Recognizer, "encode", lambda self, batch: encoded.append(len(batch)) or original(self, batch))
    assert call("--model", model, folder, *OUT, "--out-dir", out, "--resume", "true") == 0
    assert sum(encoded) == 12 - 5
    for path in whole.rglob("*.*"):
        assert (out / path.relative_to(whole)).read_bytes() == path.read_bytes(), path
    assert call("--model", model, folder, *OUT, "--out-dir", out, "--resume", "true", "--sar-rounds", "3") == 2
    assert "other values of sar_rounds" in capsys.readouterr().err


def test_decode_takes_a_model_directory(model, toy, tmp_path, capsys):
    decode.main(
        [
            "--model",
            str(model),
            "--cuts",
            str(toy / "dev.jsonl.gz"),
            "--num-workers",
            "0",
            "--out-dir",
            str(tmp_path / "out"),
            "--method",
            "ar-greedy",
        ]
    )
    assert "dev: 20 utterances" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        decode.main(["--model", str(toy), "--cuts", str(toy / "dev.jsonl.gz")])
    assert "config.json is missing" in capsys.readouterr().err
