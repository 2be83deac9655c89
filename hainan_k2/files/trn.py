"""NIST's trn files, which sclite scores: a line `WORD WORD ... (ID)` for every utterance, one file for each side.

    sclite -r ref.trn trn -h hyp.trn trn -i spu_id

Alternatives in braces, which sclite allows in references, are not read here: they would count as words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from hainan_k2.files.atomic import write_atomic
from hainan_k2.files.text_tables import read_text


def write_trn(path: Path, texts: Iterable[tuple[str, str]]) -> None:
    """Write the (id, text) of utterances. Raises ValueError for an id with parentheses or spaces."""
    lines = []
    for name, text in texts:
        if not name or re.search(r"[()\s]", name):
            raise ValueError(f"utterance {name!r}: a trn file cannot hold an id with parentheses or spaces")
        lines.append(f"{text} ({name})".strip() + "\n")
    write_atomic(path, "".join(lines))


def read_trn(path: Path) -> dict[str, str]:
    """The text of every utterance, by id.

    Raises ValueError with the line that is of another form, or whose id is there already.
    """
    texts: dict[str, str] = {}
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        match = re.fullmatch(r"(.*)\(([^()\s]+)\)", line.strip())
        if match is None:
            raise ValueError(f"{path}:{number}: not of the form WORD WORD ... (ID)")
        if match[2] in texts:
            raise ValueError(f"{path}:{number}: a second line of {match[2]}")
        texts[match[2]] = " ".join(match[1].split())
    if not texts:
        raise ValueError(f"{path}: no utterances in it")
    return texts


def read_trn_pair(reference: Path, hypothesis: Path) -> list[tuple[str, str, str]]:
    """(id, reference, hypothesis) of every utterance. Raises ValueError where the files have other ids."""
    references, hypotheses = read_trn(reference), read_trn(hypothesis)
    for one, other, path in ((references, hypotheses, hypothesis), (hypotheses, references, reference)):
        missing = [name for name in one if name not in other]
        if missing:
            raise ValueError(f"{path} has no line of {missing[0]}: {len(missing)} of {len(one)} utterances are missing")
    return [(name, text, hypotheses[name]) for name, text in references.items()]
