"""Hostile and mutated models are refused by one line, and nothing is run or written."""

import json
import subprocess
import sys

from tests.toy import ROOT


def test_200_hostile_and_mutated_models(tmp_path):
    command = [sys.executable, "-m", "tests.formats.hostile_imports", str(tmp_path / "files"), "140"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts["deliberate"] + counts["mutated"] >= 200 and counts["accepted"] < counts["mutated"] / 2
