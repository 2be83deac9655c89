"""hainan-align as a user runs it: files, folders, cuts, and what cannot be aligned."""

import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import hainan_k2.align as command
from hainan_k2.inference.aligner import Aligner
from hainan_k2.inference.recognizer import Recognizer
from hainan_k2.result import Hypothesis
from tests.toy import ROOT

JFK = ROOT / "tests" / "data" / "jfk.flac"
TEXT = "And so, my fellow Americans: ask not what your country can do for you, ask what you can do for your country."


@pytest.fixture(scope="module")
def recognizer():
    return Recognizer.load("released", "cpu")


def run(*arguments):
    call = [sys.executable, ROOT / "hainan_k2" / "align.py", "--device", "cpu", *arguments]
    return subprocess.run(list(map(str, call)), capture_output=True, text=True, timeout=300)


def main(*arguments):
    command.main(["--device", "cpu", *map(str, arguments)])


@pytest.mark.parametrize("scores", ["ar", "nar"])
def test_words_of_a_recording_are_where_they_are_recognised(recognizer, scores):
    (aligned,) = Aligner(recognizer, scores).align_files([(JFK, TEXT)])
    words = aligned.hypothesis.words
    assert [word.text for word in words] == recognizer.tokenizer.decode(recognizer.tokenizer.encode(TEXT)).split()
    (decoded,) = recognizer.transcribe([JFK], method=f"{scores}-greedy")
    known = {word.start: word for word in decoded.words}
    same = [word for word in words if word.start in known and known[word.start].text == word.text]
    assert len(same) > 14
    assert all(0 <= a.start <= a.end <= b.start for a, b in zip(words, words[1:])) and words[-1].end <= 11.0


def test_the_decoded_text_has_the_times_of_decoding(recognizer):
    (decoded,) = recognizer.transcribe([JFK], method="ar-greedy")
    (aligned,) = Aligner(recognizer).align_files([(JFK, decoded.text)])
    starts = [(a.start, b.start) for a, b in zip(decoded.words, aligned.hypothesis.words)]
    assert len(starts) == len(decoded.words) == len(aligned.hypothesis.words)
    assert sum(abs(a - b) < 0.09 for a, b in starts) >= len(starts) - 1


def test_a_folder_with_texts_beside_the_audio(tmp_path, capsys):
    audio, out = tmp_path / "audio" / "sub", tmp_path / "out"
    audio.mkdir(parents=True)
    for name in ("a b.flac", "c.flac", "d.flac"):
        shutil.copy(JFK, audio / name)
    (audio / "a b.txt").write_text(TEXT)
    (audio / "c.txt").write_text("(applause)")
    with pytest.raises(SystemExit) as exit:
        main(tmp_path / "audio", "--write", "ctm,TextGrid,jsonl", "--out-dir", out)
    assert exit.value.code == 1
    errors = capsys.readouterr().err
    assert "2 failed:" in errors and "d.txt" in errors
    assert "c.flac: its text has no words" in errors
    lines = (out / "alignments.ctm").read_text().splitlines()
    assert len(lines) == 22 and lines[0].startswith(f"{tmp_path}/audio/sub/a%20b.flac 1 0.3")
    (entry,) = map(json.loads, (out / "alignments.jsonl").read_text().splitlines())
    assert len(entry["words"]) == 22 and len(entry["tokens"]) >= 22
    grid = (out / "sub" / "a b.TextGrid").read_text()
    assert re.findall(r'text = "([^"]+)"', grid)[:3] == ["and", "so", "my"]


def test_cuts_get_their_words_as_alignments(tmp_path):
    from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
    from lhotse.serialization import load_manifest

    recording = Recording.from_file(JFK, recording_id="jfk")
    text = [SupervisionSegment("s", "jfk", 0.0, recording.duration, text=TEXT)]
    none = [SupervisionSegment("n", "jfk", 0.0, 1.0, text="(coughs)")]
    cuts = [
        MonoCut("whole", 0.0, recording.duration, 0, supervisions=text, recording=recording),
        MonoCut("short", 0.0, 1.0, 0, supervisions=none, recording=recording),
    ]
    path = tmp_path / "cuts.jsonl.gz"
    CutSet.from_cuts(cuts).to_file(path)
    done = run("--cuts", path, "--scores", "nar", "--write", "cuts,ctm", "--out-dir", tmp_path / "out")
    assert done.returncode == 1 and "short: its text has no words" in done.stderr
    written = list(load_manifest(tmp_path / "out" / "cuts.jsonl.gz"))
    words = {cut.id: (cut.supervisions[0].alignment or {}).get("word") for cut in written}
    assert words["short"] is None and [item.symbol for item in words["whole"]][:3] == ["and", "so", "my"]
    ctm = [line.split() for line in (tmp_path / "out" / "alignments.ctm").read_text().splitlines()]
    assert [(float(line[2]), line[4]) for line in ctm] == [(item.start, item.symbol) for item in words["whole"]]
    refused = run("--cuts", path, "--write", "cuts", "--out-dir", tmp_path)
    assert refused.returncode == 2 and "is the manifest that is read" in refused.stderr


def test_a_long_recording_is_aligned_as_a_whole(recognizer, tmp_path):
    """Five times the same 11 s, in windows of 20 s: each word is 11 s after the one of the round before."""
    import numpy as np
    import soundfile

    samples, rate = soundfile.read(JFK)
    soundfile.write(tmp_path / "long.flac", np.tile(samples, 5), rate)
    (aligned,) = Aligner(recognizer, "nar").align_files([(tmp_path / "long.flac", " ".join([TEXT] * 5))])
    starts = [word.start for word in aligned.hypothesis.words]
    assert len(starts) == 110
    rounds = np.array(starts).reshape(5, 22) - 11.0 * np.arange(5)[:, None]
    assert np.quantile(abs(rounds - np.median(rounds, 0)), 0.9) < 0.2


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "give audio, or --cuts in its place"),
        ([JFK, "--write", "ctm"], "--write and --out-dir go together"),
        ([JFK, "--write", "cuts", "--out-dir", "x"], "--write cuts needs --cuts"),
        (
            [JFK, "--write", "mlf", "--out-dir", "x"],
            "write is 'mlf': choose from txt, jsonl, ctm, srt, vtt, TextGrid, cuts",
        ),
        ([JFK, "--scores", "both"], "scores is 'both': choose from ar, nar"),
        ([JFK, "--text", "missing.csv"], "missing.csv: No such file or directory"),
        (["missing.wav"], "missing.wav: no such file"),
    ],
)
def test_bad_input_is_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as exit:
        main(*arguments)
    errors = capsys.readouterr().err
    assert exit.value.code == 2 and message in errors and len(errors.strip().splitlines()) == 1


def test_a_text_without_an_alignment_is_told(recognizer, monkeypatch):
    """The released model can emit any number of tokens on a frame; others cannot."""
    none = [Hypothesis((), -math.inf, 138)]
    monkeypatch.setattr("hainan_k2.inference.aligner.align", lambda *arguments: none)
    (result,) = Aligner(recognizer).align_files([(JFK, TEXT)])
    assert result.hypothesis is None
    assert re.search(r"jfk\.flac: its text of \d+ tokens has no alignment with 138 frames of 0.08 s", result.failure)


def test_nar_scores_of_a_model_without_masking_are_doubtful(recognizer, monkeypatch, caplog):
    monkeypatch.setattr(recognizer.model, "config", replace(recognizer.model.config, predictor_masking=False))
    assert Aligner(recognizer, "ar") and not caplog.records
    assert Aligner(recognizer, "nar")
    assert "was not masked in training: align by scores ar" in caplog.text


def test_texts_that_are_no_words_are_told(recognizer):
    results = list(
        Aligner(recognizer).align_files([(JFK, "(sighs)"), (JFK, "слово"), (Path("no.wav"), "a"), (JFK, "and so")])
    )
    assert [r.failure.partition(": ")[2] for r in results] == [
        "its text has no words",
        "its text has characters that the tokenizer does not know",
        "no such file",
        "",
    ]
    assert results[3].hypothesis.text == "and so"
    with pytest.raises(ValueError, match="scores is 'x'"):
        Aligner(recognizer, "x")
