"""The command that scores and compares result files."""

import subprocess
import sys

import pytest

from hainan_k2.score import main
from hainan_k2.scoring.results import write_results
from tests.scoring.test_results import PERFECT, RESULTS
from tests.toy import ROOT

SCRIPT = ROOT / "hainan_k2" / "score.py"


def test_the_command_prints_rates_and_differences(tmp_path):
    write_results(tmp_path, "test", {"nar": RESULTS, "ar": PERFECT})
    done = subprocess.run(
        [sys.executable, SCRIPT, "recogs-test-nar.txt", "recogs-test-ar.txt"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == 3, done.stderr
    assert lines[0].startswith("recogs-test-nar.txt: WER 66.67 % [")
    assert lines[0].endswith("3 sub, 3 del, 2 ins, 12 words, 6 utterances, 2 of them without a reference")
    assert lines[1].startswith("recogs-test-ar.txt: WER 0.00 % [0.00, 0.00], CER 0.00 %")
    assert lines[2].startswith("recogs-test-ar.txt less recogs-test-nar.txt: WER -66.67 % [")


def test_errors_are_one_line(tmp_path, capsys):
    write_results(tmp_path, "s", {"m": RESULTS, "n": RESULTS[1:]})
    for arguments, message in [
        (["none.txt"], "none.txt"),
        (["recogs-s-m.txt", "recogs-s-n.txt"], "5 and 6 that differ"),
    ]:
        with pytest.raises(SystemExit) as stopped:
            main([str(tmp_path / name) for name in arguments])
        assert stopped.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line


def test_trn_files_hold_the_same_texts(tmp_path, capsys):
    write_results(tmp_path, "test", {"nar": RESULTS, "ar": PERFECT})
    recogs = [str(tmp_path / f"recogs-test-{method}.txt") for method in ("nar", "ar")]
    main([*recogs, "--trn-dir", str(tmp_path / "trn")])
    printed = capsys.readouterr().out.replace(f"{tmp_path}/recogs-test", "x").replace(".txt", "")
    names = sorted(path.name for path in (tmp_path / "trn").iterdir())
    assert names == [f"test-{method}.{side}.trn" for method in ("ar", "nar") for side in ("hyp", "ref")]
    for name, reference, hypothesis in RESULTS:
        for side, text in (("ref", reference), ("hyp", hypothesis)):
            assert f"{text} ({name})".strip() in (tmp_path / "trn" / f"test-nar.{side}.trn").read_text().splitlines()
    hypotheses = [str(tmp_path / "trn" / f"test-{method}.hyp.trn") for method in ("nar", "ar")]
    main([*hypotheses, "--reference", str(tmp_path / "trn" / "test-nar.ref.trn")])
    again = capsys.readouterr().out.replace(f"{tmp_path}/trn/test", "x").replace(".hyp.trn", "")
    assert again == printed


def test_trn_files_of_other_programs(tmp_path, capsys):
    reference, hypothesis = tmp_path / "r.trn", tmp_path / "h.trn"
    for first, second, message in [
        ("a b (u-1)\n(u-2)\n", "a  (b)  (u-1)\n", "h.trn has no line of u-2: 1 of 2 utterances are missing"),
        ("a (u-1)\n", "a (u-1)\nb (u-3)\n", "r.trn has no line of u-3"),
        ("a (u-1)\na u-1\n", "a (u-1)\n", "r.trn:2: not of the form WORD WORD ... (ID)"),
        ("a (u-1)\n\nb (u-1)\n", "a (u-1)\n", "r.trn:3: a second line of u-1"),
        ("\n", "a (u-1)\n", "r.trn: no utterances in it"),
    ]:
        reference.write_text(first)
        hypothesis.write_text(second)
        with pytest.raises(SystemExit) as stopped:
            main([str(hypothesis), "--reference", str(reference)])
        (line,) = capsys.readouterr().err.splitlines()
        assert stopped.value.code == 2 and message in line
    reference.write_text("a b (u-1)\n(u-2)\n")
    hypothesis.write_text("(u-2)\na  (c)  (u-1)\n")
    main([str(hypothesis), "--reference", str(reference)])
    assert "1 sub, 0 del, 0 ins, 2 words, 2 utterances" in capsys.readouterr().out
    write_results(tmp_path, "bad", {"m": [("u(1)", "a", "a")]})
    with pytest.raises(SystemExit):
        main([str(tmp_path / "recogs-bad-m.txt"), "--trn-dir", str(tmp_path / "trn")])
    assert "'u(1)': a trn file cannot hold an id" in capsys.readouterr().err
