"""Tables of utterances, as hainan_k2/prepare_data.py reads them: a recipe's data where they lie."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from hainan_k2.files.atomic import write_atomic


def write_table(utterances: Iterable[tuple[Path, str, str, str]], path: Path) -> None:
    """Write (audio file, text, id, speaker) of each utterance to `path`, a .csv."""
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("path", "text", "id", "speaker"))
    for audio, text, name, speaker in utterances:
        rows.writerow((audio.absolute(), " ".join(text.split()), name, speaker))
    write_atomic(path, table.getvalue())
