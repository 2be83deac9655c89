"""PieceModel: the content of a sentencepiece model, and its form here: `<blk>`, the blank, is piece 0.

A model that hainan-train-bpe trains has this form already. A model of another toolkit keeps its pieces, and ours are
numbered one higher. Its text is not normalised before it is encoded: casing and punctuation are the model's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Optional, Union

from hainan_k2.config import shown
from hainan_k2.files.protobuf import Field, read_message, write_message
from hainan_k2.result import WORD_START

BLANK, UNKNOWN = "<blk>", "<unk>"

# Types of pieces, and numbers of fields, in sentencepiece_model.proto.
NORMAL_PIECE, UNKNOWN_PIECE, CONTROL_PIECE, USER_PIECE, UNUSED_PIECE, BYTE_PIECE = range(1, 7)
PIECES, TRAINER, NORMALIZER = 1, 2, 3
NORMALISATION, SCORING = 200, 201  # in the range of extensions: these are ours
TEXT, SCORE, TYPE = 1, 2, 3
MODEL_TYPE, VOCAB_SIZE, WORD_END, BYTE_FALLBACK, UNK_ID, BOS_ID, EOS_ID, PAD_ID = 3, 4, 24, 35, 40, 41, 42, 43
UNK_SURFACE, UNK_PIECE, PAD_PIECE = 44, 45, 48
CHARSMAP, DUMMY_PREFIX, EXTRA_SPACES, ESCAPE = 2, 3, 4, 5
UNIGRAM, BPE = 1, 2


@dataclass(frozen=True)
class Piece:
    """A piece of text with its `score`; `type` is one of the types of sentencepiece."""

    text: str
    score: float = 0.0
    type: int = NORMAL_PIECE


@dataclass(frozen=True)
class PieceModel:
    """The pieces of a sentencepiece model, and its other fields as they are.

    Args:
      trainer, normalizer: fields of its TrainerSpec and NormalizerSpec.
      rest: the other fields of the model.
    """

    pieces: tuple[Piece, ...]
    trainer: tuple[Field, ...]
    normalizer: tuple[Field, ...]
    rest: tuple[Field, ...] = ()

    @classmethod
    def read(cls, content: bytes, where: str) -> PieceModel:
        """The content of a file `bpe.model`. Raises ValueError, beginning with `where`, for anything else."""
        try:
            fields = read_message(content)
            pieces = tuple(_read_piece(_message(field)) for field in fields if field.number == PIECES)
            trainer, normalizer = (
                tuple(inner for field in fields if field.number == number for inner in read_message(_message(field)))
                for number in (TRAINER, NORMALIZER)
            )
        except ValueError as error:
            raise ValueError(f"{where} is not a sentencepiece model: {error}") from None
        if not pieces:
            raise ValueError(f"{where} is not a sentencepiece model: it has no pieces")
        if not {TRAINER, NORMALIZER} <= {field.number for field in fields}:
            raise ValueError(f"{where} is not a whole sentencepiece model: it ends after {len(pieces)} pieces")
        rest = tuple(field for field in fields if field.number not in (PIECES, TRAINER, NORMALIZER))
        return cls(pieces, trainer, normalizer, rest)

    def write(self) -> bytes:
        """The content of a file `bpe.model`."""
        pieces = [Field(PIECES, write_message(_piece_fields(piece))) for piece in self.pieces]
        specs = [Field(TRAINER, write_message(self.trainer)), Field(NORMALIZER, write_message(self.normalizer))]
        return write_message([*pieces, *specs, *self.rest])

    @property
    def normalisation(self) -> str:
        """The name of what is done to a text before it is encoded (hainan_k2.text.normalisation).

        Raises ValueError for a value that is not a text.
        """
        return _text(_last(self.rest, NORMALISATION, b"english"), "normalisation")

    @property
    def scoring(self) -> str:
        """The same for texts before they are scored: an imported model, as it is written, is scored as English."""
        default = b"english" if self.normalisation == "none" else self.normalisation.encode()
        return _text(_last(self.rest, SCORING, default), "scoring")

    def with_normalisation(self, name: str) -> PieceModel:
        """This model, with texts normalised as `name` says, to be encoded and to be scored."""
        value = name.encode("utf-8")
        return replace(self, rest=tuple(_with(self.rest, {NORMALISATION: value, SCORING: value})))

    def with_blank(self, where: str) -> PieceModel:
        """This model of another toolkit in our form: `<blk>` first, the unknown piece named `<unk>`, text as it is.

        Raises ValueError, beginning with `where`, for what our words and grammars do not work with: pieces that contain
        the end of one word and the start of the next, and marks at the ends of words.
        """
        self._check_importable(where)
        unknown = [i for i, piece in enumerate(self.pieces) if piece.type == UNKNOWN_PIECE]
        renamed = [replace(piece, text=UNKNOWN) if i in unknown else piece for i, piece in enumerate(self.pieces)]
        numbers = {
            number: value + 1
            for number, default in ((BOS_ID, 1), (EOS_ID, 2), (PAD_ID, -1))
            for value in [_last(self.trainer, number, default)]
            if isinstance(value, int) and value >= 0
        }
        changes: dict[int, Union[int, bytes]] = {
            **numbers,
            VOCAB_SIZE: len(renamed) + 1,
            UNK_ID: unknown[0] + 1,
            UNK_PIECE: UNKNOWN.encode(),
            UNK_SURFACE: f" {UNKNOWN} ".encode(),
        }
        return PieceModel(
            (Piece(BLANK, 0.0, CONTROL_PIECE), *renamed),
            tuple(_with(self.trainer, changes)),
            self.normalizer,
            tuple(_with(self.rest, {NORMALISATION: b"none"})),
        )

    def without_blank(self) -> PieceModel:
        """This model as other toolkits have it: without `<blk>`, every other piece numbered one lower."""
        numbers = {
            number: value - 1
            for number, default in ((UNK_ID, 0), (BOS_ID, 1), (EOS_ID, 2))
            for value in [_last(self.trainer, number, default)]
            if isinstance(value, int) and 0 < value < len(self.pieces)
        }
        trainer = _with(self.trainer, {**numbers, VOCAB_SIZE: len(self.pieces) - 1})
        padding = (PAD_ID, PAD_PIECE)  # hainan-train-bpe makes the blank of it
        return PieceModel(
            self.pieces[1:],
            tuple(field for field in trainer if field.number not in padding),
            self.normalizer,
            tuple(field for field in self.rest if field.number not in (NORMALISATION, SCORING)),
        )

    def _check_importable(self, where: str) -> None:
        unknown = [piece for piece in self.pieces if piece.type == UNKNOWN_PIECE]
        if len(unknown) != 1:
            raise ValueError(f"{where}: a tokenizer has one unknown piece, this one {len(unknown)}")
        texts = [piece.text for piece in self.pieces if piece.type != UNKNOWN_PIECE]
        for name in (BLANK, UNKNOWN):
            if name in texts:
                raise ValueError(f"{where}: a piece is named {name}, which has another meaning here")
        twice = next((text for i, text in enumerate(sorted(texts)) if i and text == sorted(texts)[i - 1]), None)
        if twice is not None:
            raise ValueError(f"{where}: the piece {shown(twice)} is there twice")
        if _last(self.trainer, WORD_END, 0):
            raise ValueError(f"{where}: a tokenizer with treat_whitespace_as_suffix is not supported")
        across = [p.text for p in self.pieces if p.type == NORMAL_PIECE and WORD_START in p.text.lstrip(WORD_START)]
        if across:
            raise ValueError(
                f"{where}: {len(across)} pieces go across words, e.g. {shown(across[0])}: such tokenizers are not "
                "supported"
            )
        for number, default, wanted, name in (
            (DUMMY_PREFIX, 1, 1, "add_dummy_prefix"),
            (ESCAPE, 1, 1, "escape_whitespaces"),
        ):
            if _last(self.normalizer, number, default) != wanted:
                raise ValueError(f"{where}: a tokenizer with {name} false is not supported")


def _text(value: Union[int, bytes, float], what: str) -> str:
    try:
        return value.decode("utf-8") if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError:
        raise ValueError(f"{what} {shown(value)} is not UTF-8 text") from None


def _message(field: Field) -> bytes:
    if not isinstance(field.value, bytes):
        raise ValueError(f"field {field.number} is a number, not a message")
    return field.value


def _read_piece(content: bytes) -> Piece:
    fields = read_message(content)
    text, score, kind = _last(fields, TEXT, b""), _last(fields, SCORE, 0.0), _last(fields, TYPE, NORMAL_PIECE)
    if not isinstance(text, bytes) or not isinstance(score, float) or not isinstance(kind, int) or not 1 <= kind <= 6:
        raise ValueError("a piece has no text, score or type as pieces have them")
    try:
        return Piece(text.decode("utf-8"), score, kind)
    except UnicodeDecodeError:
        raise ValueError(f"the piece {shown(text)} is not UTF-8 text") from None


def _piece_fields(piece: Piece) -> list[Field]:
    fields = [Field(TEXT, piece.text.encode("utf-8")), Field(SCORE, float(piece.score))]
    return fields + ([Field(TYPE, piece.type)] if piece.type != NORMAL_PIECE else [])


def _last(fields: Iterable[Field], number: int, default: Union[int, bytes, float]) -> Union[int, bytes, float]:
    """The value of a field, which is that of its last occurrence."""
    value: Optional[Union[int, bytes, float]] = None
    for field in fields:
        value = field.value if field.number == number else value
    return default if value is None else value


def _with(fields: Iterable[Field], changes: dict[int, Union[int, bytes]]) -> list[Field]:
    return [f for f in fields if f.number not in changes] + [Field(n, value) for n, value in changes.items()]
