"""How a tokenizer writes a word: the one segmentation that a model's training saw."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from hainan_k2.result import WORD_START

UNKNOWN = "<unk>"

# Labels of word-level FSTs that no audio corresponds to: epsilons, Kaldi's disambiguation symbols #0, #1 ... (#0 is on
# the back-off arcs of a G), the ends of sentences, optional silence.
_SILENT = re.compile(r"#[0-9]+|<eps>|<epsilon>|<blk>|</?s>|!sil|<sil>", re.IGNORECASE)
_SPECIAL = re.compile(r"<[^<>\s]+>")


def is_silent(symbol: str) -> bool:
    """Whether a symbol of an FST's symbol table is epsilon: `<eps>`, `#0`, `#1` ..., `<s>`, `</s>`, `!SIL`, `<SIL>`."""
    return _SILENT.fullmatch(symbol) is not None


class Vocabulary(Protocol):
    """A tokenizer, as hainan_k2.text.tokenizer.Tokenizer is one."""

    pieces: Sequence[str]

    def encode(self, text: str) -> list[int]: ...


class Speller:
    """Words to token ids and back.

    A word has one spelling, the tokenizer's own: other ways to cut it into pieces were never in a training text, and a
    grammar that allowed them would have many times the arcs.
    """

    def __init__(self, tokenizer: Vocabulary):
        self.pieces = tuple(tokenizer.pieces)
        self._ids = {piece: id for id, piece in enumerate(self.pieces)}
        self._encode = tokenizer.encode
        self._known: dict[str, list[int]] = {}

    def spell(self, word: str) -> list[int]:
        """Ids of a word's normal form (digits become words); ValueError if the tokenizer has no letters for it, and for
        symbols such as <unk>."""
        if word not in self._known:
            if _SPECIAL.fullmatch(word):
                raise ValueError(f"{word} is a symbol and no word: take its arcs out, or name the words it stands for")
            ids = self._encode(word)
            if not ids or any(self.pieces[id] == UNKNOWN for id in ids):
                raise ValueError(f"the tokenizer cannot spell {word!r}")
            self._known[word] = ids
        return self._known[word]

    def piece(self, piece: str) -> int:
        """The id of a piece; ValueError if there is none."""
        if piece not in self._ids:
            raise ValueError(f"{piece!r} is none of the tokenizer's {len(self.pieces)} pieces")
        return self._ids[piece]

    def text(self, ids: Sequence[int]) -> str:
        """The text of ids."""
        return "".join(self.pieces[id] for id in ids).replace(WORD_START, " ").strip()
