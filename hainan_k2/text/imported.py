"""Tokenizers of other toolkits' models, in our form: their pieces, casing and punctuation, with `<blk>` as id 0."""

from __future__ import annotations

from hainan_k2.text.piece_model import PieceModel
from hainan_k2.text.tokenizer import Tokenizer
from hainan_k2.text.tokenizer_json import read_tokenizer_json


def import_sentencepiece(content: bytes, where: str) -> Tokenizer:
    """The Tokenizer of a sentencepiece model, such as tokenizer.model in a .nemo archive: our id is theirs plus 1.

    Raises ValueError, beginning with `where`, for damaged models and those that `PieceModel.with_blank` refuses.
    """
    return Tokenizer.of_content(PieceModel.read(content, where).with_blank(where).write(), where)


def import_tokenizer_json(content: bytes, where: str, blank: int) -> Tokenizer:
    """The Tokenizer of a tokenizer.json in a folder of transformers; `blank` is the number of the model's blank there,
    which comes after all pieces. Raises as `import_sentencepiece`."""
    return Tokenizer.of_content(read_tokenizer_json(content, where, blank).with_blank(where).write(), where)
