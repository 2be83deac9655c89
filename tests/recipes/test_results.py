"""The table of stage 6, results.py."""

import json
import sys

from tests.recipes.shell import SHARED, bash


def test_table(tmp_path):
    figures = {"wer": 0.1234, "cer": 0.05, "interval": [0.1, 0.15], "substitutions": 3, "deletions": 2, "insertions": 1}
    summary = tmp_path / "summary-test-clean.json"
    summary.write_text(json.dumps({"methods": {"ar-greedy": figures}}))
    done = bash(f'"{sys.executable}" "{SHARED}/results.py" .', cwd=tmp_path)
    row = "| test-clean | ar-greedy | 12.34 | 10.00 - 15.00 | 5.00 | 3 | 2 | 1 |"
    assert done.stdout.splitlines()[-1] == row


def test_nothing_decoded(tmp_path):
    done = bash(f'"{sys.executable}" "{SHARED}/results.py" .', cwd=tmp_path)
    assert done.returncode == 2 and "decode first (stage 5)" in done.stderr
