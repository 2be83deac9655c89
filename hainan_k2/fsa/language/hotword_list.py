"""The file of hotwords: phrases to be favoured by a search, one per line."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from hainan_k2.fsa.language.hotwords import HotwordGraph
from hainan_k2.fsa.language.spelling import Vocabulary
from hainan_k2.result import WORD_START

logger = logging.getLogger(__name__)


def read_hotwords(path: str | Path, tokenizer: Vocabulary) -> HotwordGraph:
    """The HotwordGraph of a file of hotwords; ValueError as read_phrases."""
    return HotwordGraph.build(read_phrases(path, tokenizer), [p.startswith(WORD_START) for p in tokenizer.pieces])


def read_phrases(path: str | Path, tokenizer: Vocabulary) -> dict[tuple[int, ...], float]:
    """{token ids: weight} of a file with one phrase per line.

        # names
        grace hopper
        ada lovelace :2.5

    The weight follows the last ` :` of the line and is 1 by default; a line that begins with # is a comment. The
    tokenizer normalises phrases and segments them; an imported tokenizer takes them as they are written, so that their
    casing must be the model's. A phrase that is repeated with the same weight counts once, and a
    warning tells how many are.

    Raises:
      ValueError: "FILE:LINE: ..." for a phrase whose normal form is empty, or has letters that the tokenizer lacks; for
        a weight that is negative or no number; for a phrase that is repeated with another weight.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"no file of hotwords at {path}")
    phrases: dict[tuple[int, ...], float] = {}
    line_of: dict[tuple[int, ...], int] = {}
    repeated = 0
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        where = f"{path}:{number}"
        try:
            text = line.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise ValueError(f"{where}: this is not UTF-8 text") from None
        if not text or text.startswith("#"):
            continue
        ids, weight = _parse(text, where, tokenizer)
        if phrases.setdefault(ids, weight) != weight:
            raise ValueError(
                f"{where}: {text!r} has the weight {weight:g} here and {phrases[ids]:g} in line {line_of[ids]}"
            )
        repeated += ids in line_of
        line_of.setdefault(ids, number)
    if not phrases:
        raise ValueError(f"{path}: there is no hotword in it")
    if repeated:
        logger.warning("%s: %d of %d lines repeat a phrase", path, repeated, repeated + len(phrases))
    return phrases


def _parse(text: str, where: str, tokenizer: Vocabulary) -> tuple[tuple[int, ...], float]:
    """Token ids and weight of one line."""
    match = re.fullmatch(r"(.*?)(?:(?:^|\s):\s*(\S*))?", text)
    phrase, weight = match.groups() if match else (text, None)
    try:
        value = 1.0 if weight is None else float(weight)
    except ValueError:
        raise ValueError(f"{where}: the weight {weight!r} is not a number") from None
    if not 0.0 <= value < float("inf"):
        raise ValueError(f"{where}: the weight {weight} should be finite and not negative")
    ids = tuple(tokenizer.encode(phrase))
    if not ids:
        raise ValueError(f"{where}: the normal form of {phrase!r} is empty")
    if "<unk>" in (pieces := [tokenizer.pieces[i] for i in ids]):
        raise ValueError(f"{where}: {phrase!r} has letters that the tokenizer does not know")
    if not pieces[0].startswith(WORD_START):
        raise ValueError(f"{where}: {phrase!r} is {pieces} in tokens, of which the first does not start a word")
    return ids, value
