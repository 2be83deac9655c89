"""The spelling of a word in tokens: the segmentation that the tokenizer gives it, which the model was trained on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from hainan_k2.result import WORD_START

UNKNOWN = "<unk>"

# Symbols of word-level FSTs that stand for no word: epsilons, Kaldi's disambiguation symbols #0, #1 ... (#0 is on the
# back-off arcs of a G), the ends of sentences, optional silence.
_EPSILON = re.compile(r"#[0-9]+|<eps>|<epsilon>|<blk>|</?s>|!sil|<sil>", re.IGNORECASE)
_SPECIAL = re.compile(r"<[^<>\s]+>")


def is_epsilon(symbol: str) -> bool:
    """Whether a symbol of an FST stands for no word: `<eps>`, `#0`, `#1` ..., `<s>`, `</s>`, `!SIL`, `<SIL>`."""
    return _EPSILON.fullmatch(symbol) is not None


class Vocabulary(Protocol):
    """A tokenizer, such as hainan_k2.text.Tokenizer."""

    @property
    def pieces(self) -> Sequence[str]:
        """The tokens, index = id."""

    def encode(self, text: str) -> list[int]:
        """The token ids of a text."""


class Speller:
    """Maps words to token ids and back.

    A word has one spelling, the tokenizer's own. The model was not trained on other segmentations, and a grammar that
    allowed them would have many times the arcs.
    """

    def __init__(self, tokenizer: Vocabulary):
        self.pieces = tuple(tokenizer.pieces)
        self._ids = {piece: id for id, piece in enumerate(self.pieces)}
        self._encode = tokenizer.encode
        self._spellings: dict[str, list[int]] = {}

    def spell(self, word: str) -> list[int]:
        """The token ids of a word, after normalisation; for an imported tokenizer, of the word as it is written.

        Raises:
          ValueError: if the tokenizer lacks one of its letters, and for symbols such as <unk>.
        """
        if word not in self._spellings:
            if _SPECIAL.fullmatch(word):
                raise ValueError(f"{word} is a symbol and no word: remove its arcs, or replace them by words")
            ids = self._encode(word)
            if not ids or any(self.pieces[id] == UNKNOWN for id in ids):
                raise ValueError(f"the tokenizer cannot spell {word!r}")
            self._spellings[word] = ids
        return self._spellings[word]

    def piece(self, piece: str) -> int:
        """The id of a piece; ValueError if the tokenizer does not have it."""
        if piece not in self._ids:
            raise ValueError(f"{piece!r} is none of the tokenizer's {len(self.pieces)} pieces")
        return self._ids[piece]

    def text(self, ids: Sequence[int]) -> str:
        """The text of token ids."""
        return "".join(self.pieces[id] for id in ids).replace(WORD_START, " ").strip()
