"""The sentences that a synthesizer reads: a choice of a text's lines, with commas where a reader pauses."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from hainan_k2.text import normalise

# The positions of pauses. The full stop of a title or of an initial is none.
PAUSE = re.compile(r"(?<!\bMr)(?<!\bMrs)(?<!\bDr)(?<!\b[A-Za-z])\.(?=\s)|[,;:?!]+(?=[\s\"])|--+|\"")


def with_pauses(written: str) -> tuple[str, str]:
    """The normal form of a text, and the same words with a comma at each pause and a full stop or question mark.

    >>> with_pauses("Well -- don't go!")
    ("well don't go", "well, don't go.")
    """
    normal = normalise(written)
    clauses = list(filter(None, map(normalise, PAUSE.split(written))))
    if " ".join(clauses) != normal:  # a pause splits a number or a bracket
        clauses = [normal]
    return normal, ", ".join(clauses) + ("?" if re.search(r"\?\W*$", written) else ".")


def choose_sentences(
    lines: Iterable[str], source: str, min_words: int, max_words: int, seed: int
) -> list[tuple[str, str]]:
    """The distinct sentences of `min_words` to `max_words` words, as `with_pauses` returns them, in random order.

    Args:
      lines: one sentence each, in written form.
      source: name of the text, for the error message.
      min_words, max_words: limits of the number of words.
      seed: of the order.

    Raises:
      ValueError: if there are none.
    """
    pairs = dict(map(with_pauses, lines))
    chosen = [pair for pair in pairs.items() if min_words <= len(pair[0].split()) <= max_words]
    if not chosen:
        raise ValueError(f"{source} has no sentence of {min_words} to {max_words} words")
    random.Random(seed).shuffle(chosen)
    return chosen


def claim(folder: Path, chosen: Sequence[tuple[str, str]], seed: int) -> None:
    """Make the folder, with seed and sentences in its wide.json; ValueError if it has speech of others."""
    digest = hashlib.sha256("\n".join(text for pair in chosen for text in pair).encode()).hexdigest()
    settings = json.dumps({"seed": seed, "sentences": digest})
    note = folder / "wide.json"
    if note.exists() and note.read_text(encoding="utf-8") != settings:
        raise ValueError(f"{folder} has speech of other sentences: remove it or give another --dir")
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(settings, encoding="utf-8")
