"""Where a page comes from: model, code, date and command, printed at its end."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from hainan_k2.files.checksum import sha256_of
from hainan_k2.files.text_tables import printable
from hainan_k2.version import code_version

DIGITS = 12  # of the SHA-256 of the weights: enough to tell models apart


def origin(weights: Sequence[Path], model: str = "") -> tuple[tuple[str, str], ...]:
    """(name, value) pairs: the model with the SHA-256 of its weights, the code's version, the date and the command.

    The command is that of this process, the date is the present time in UTC.

    Args:
      weights: the files of the model's weights; several where checkpoints are averaged.
      model: name of the model, in place of the paths of its weights.

    Raises:
      OSError: if a file cannot be read.
    """
    files = ", ".join(f"{path.name if model else path} (SHA-256 {sha256_of(path)[:DIGITS]})" for path in weights)
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return (
        ("model", printable(f"{model}: {files}" if model else files)),
        ("hainan_k2", code_version()),
        ("date", datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")),
        ("command", printable(command)),
    )
