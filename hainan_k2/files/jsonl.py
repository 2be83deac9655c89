"""Files of one JSON object per line that grow while a program runs."""

from __future__ import annotations

import json
import pathlib
from typing import Any


def read_lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """JSON lines of a log; a last line cut off by a kill is left out."""
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
    return [json.loads(line) for line in lines[:-1]]
