"""The output folder: a second run or another process neither loses nor mixes results."""

import json
import subprocess
import sys

import pytest

from hainan_k2.inference.decoded import Decoded
from hainan_k2.inference.inputs import Input, utterance_id
from hainan_k2.report.transcripts import Transcripts
from hainan_k2.result import Hypothesis, Word
from tests.toy import ROOT

KINDS = ("txt", "ctm", "srt")
OPTIONS = {"beam": 4}


def result(path, failures=None, **texts):
    """A recording and the results of some methods."""
    hypotheses = {label: Hypothesis((), 0.0, 9, (Word(text, 0.0, 1.0, 1.0),), text) for label, text in texts.items()}
    return Input(path, path.rsplit("/", 1)[-1]), Decoded(utterance_id(path), "", 1.0, hypotheses, failures or {})


def fill(folder, *paths, **flags):
    with Transcripts(folder, KINDS, ["sar"], OPTIONS, **flags) as out:
        for path in paths:
            assert out.write(*result(path, sar="yes")) == ""


def contents(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_existing_results_are_not_overwritten(tmp_path):
    fill(tmp_path, "/x/a.wav", "/x/b.wav")
    before = contents(tmp_path)
    with pytest.raises(
        ValueError,
        match=f"{tmp_path} has the results of 2 recordings: --resume continues them, --overwrite starts again",
    ):
        Transcripts(tmp_path, KINDS, ["sar"], OPTIONS)
    assert contents(tmp_path) == before
    fill(tmp_path, "/x/c.wav", resume=True)
    assert contents(tmp_path)["transcripts.txt"] == "/x/a.wav yes\n/x/b.wav yes\n/x/c.wav yes\n"
    with Transcripts(tmp_path, ("txt",), ["sar"], OPTIONS, overwrite=True) as out:
        assert out.write(*result("/x/d.wav", sar="no")) == "" and not out.has("/x/a.wav")
    assert contents(tmp_path)["transcripts.txt"] == "/x/d.wav no\n"
    assert not (tmp_path / "transcripts.ctm").exists(), "it has results of other recordings"


def test_other_files_are_not_overwritten(tmp_path):
    (tmp_path / "a.srt").write_text("by hand")
    with Transcripts(tmp_path, KINDS, ["sar"], OPTIONS) as out:
        assert "a.srt exists: --overwrite replaces it" in out.write(*result("/x/a.wav", sar="yes"))
        assert out.write(*result("/x/b.wav", sar="yes")) == ""
    assert (tmp_path / "a.srt").read_text() == "by hand"
    assert (tmp_path / "transcripts.txt").read_text() == "/x/b.wav yes\n"
    (tmp_path / "done.jsonl").unlink()
    for flags in ({}, {"resume": True}):
        with pytest.raises(ValueError, match="has transcripts.txt: --overwrite starts again"):
            Transcripts(tmp_path, KINDS, ["sar"], OPTIONS, **flags)
    assert (tmp_path / "transcripts.txt").read_text() == "/x/b.wav yes\n"


def test_a_run_without_results_can_be_repeated(tmp_path):
    fill(tmp_path)
    fill(tmp_path, "/x/a.wav")
    assert contents(tmp_path)["transcripts.txt"] == "/x/a.wav yes\n"


def test_a_second_process_cannot_write_until_the_first_has_ended(tmp_path):
    pytest.importorskip("fcntl")
    code = (
        f"from hainan_k2.report.transcripts import Transcripts\nTranscripts({str(tmp_path)!r}, ('txt',), ['sar'], "
        "{}, resume=True)"
    )

    def start():
        return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)

    with Transcripts(tmp_path, ("txt",), ["sar"], {}) as out:
        out.write(*result("/x/a.wav", sar="yes"))
        second = start()
        assert second.returncode and f"{tmp_path}: another process is writing its results there" in second.stderr
        out.write(*result("/x/b.wav", sar="yes"))
    assert contents(tmp_path)["transcripts.txt"] == "/x/a.wav yes\n/x/b.wav yes\n"
    assert start().returncode == 0


def test_every_method_has_its_own_files(tmp_path):
    labels = ["sar", "viterbi-lm lm_scale=0.3"]
    source, decoded = result("/x/a b.wav", sar="yes")
    decoded.hypotheses[labels[1]] = Hypothesis((), 0.0, 9, (Word("no", 0.0, 1.0, 1.0),), "no")
    with Transcripts(tmp_path, KINDS, labels, OPTIONS) as out:
        assert out.write(source, decoded) == ""
    files = contents(tmp_path)
    assert files["transcripts.sar.txt"] == "/x/a%20b.wav yes\n"
    assert files["transcripts.viterbi-lm-lm_scale=0.3.ctm"] == "/x/a%20b.wav 1 0.000 1.000 no 1.000\n"
    assert set(files) == {
        "done.jsonl",
        *(
            f"{stem}.{mark}.{kind}"
            for mark in ("sar", "viterbi-lm-lm_scale=0.3")
            for stem, kind in (("transcripts", "txt"), ("transcripts", "ctm"), ("a b", "srt"))
        ),
    }


def test_a_resumed_run_reports_earlier_failures_of_some_methods(tmp_path):
    with Transcripts(tmp_path, ("txt",), ["sar", "mbr"], OPTIONS) as out:
        assert out.write(*result("/x/a.wav", {"mbr": "/x/a.wav: mbr: too long"}, sar="yes")) == ""
    with Transcripts(tmp_path, ("txt",), ["sar", "mbr"], OPTIONS, resume=True) as out:
        assert out.has("/x/a.wav") and out.failures == ["/x/a.wav: mbr: too long"]
    assert contents(tmp_path)["transcripts.mbr.txt"] == ""


def test_a_name_too_long_for_subtitles_fails_alone(tmp_path):
    with Transcripts(tmp_path, KINDS, ["sar"], OPTIONS) as out:
        long = out.write(*result("/x/" + "y" * 253 + ".w", sar="yes"))
        assert "its subtitles cannot be written" in long and "too long" in long
        assert out.write(*result("/x/b.wav", sar="yes")) == ""
    assert (tmp_path / "transcripts.txt").read_text() == "/x/b.wav yes\n"


@pytest.mark.parametrize(
    "line",
    [
        "no JSON",
        "[1]",
        "{}",
        '{"name": 1, "file": "a", "failed": [], "sizes": {}}',
        "\udcff",
        "[" * 100_000,
        '{"name": "a", "file": "a", "failed": [], "sizes": {"transcripts.txt": -1}}',
        '{"name": "a", "file": "a", "failed": [2], "sizes": {}}',
    ],
)
def test_a_damaged_ledger_is_an_error_and_nothing_is_lost(tmp_path, line):
    fill(tmp_path, "/x/a.wav")
    with open(tmp_path / "done.jsonl", "a", errors="surrogateescape") as ledger:
        ledger.write(line + "\n")
    before = (tmp_path / "transcripts.txt").read_text()
    for flags in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(ValueError, match=f"{tmp_path}/done.jsonl:3: damaged"):
            Transcripts(tmp_path, KINDS, ["sar"], OPTIONS, **flags)
    assert (tmp_path / "transcripts.txt").read_text() == before


def test_file_names_in_a_ledger_cannot_leave_the_folder(tmp_path):
    (tmp_path / "out").mkdir()
    for name in ("transcripts.txt", "precious.txt"):
        (tmp_path / name).write_text("precious")
    record = {"name": "a", "file": "a", "failed": [], "sizes": {"../transcripts.txt": 0, "../precious.txt": 0}}
    (tmp_path / "out" / "done.jsonl").write_text("{}\n" + json.dumps(record) + "\n")
    Transcripts(tmp_path / "out", ("txt",), ["sar"], {}, overwrite=True).__exit__()
    assert all((tmp_path / name).read_text() == "precious" for name in ("transcripts.txt", "precious.txt"))
