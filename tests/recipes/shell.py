"""Runs small bash scripts over the files of recipes/shared."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT / "recipes" / "shared"


def bash(script: str, *args: str, cwd: Path) -> subprocess.CompletedProcess:
    """Runs `script` with the positional parameters `args`; log.sh, options.sh and stages.sh are sourced."""
    head = "set -euo pipefail\n" + "".join(f'. "{SHARED}/{n}.sh"\n' for n in ("log", "options", "stages"))
    command = ["bash", "-c", head + script, "recipe", *args]
    return subprocess.run(command, cwd=cwd, text=True, capture_output=True)
