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
