"""The tokenizer: text to token ids and back.

Id 0 is `<blk>`, the blank of the transducer; `<unk>` is for letters that the tokenizer was not trained on, and has id 1
in tokenizers of hainan-train-bpe. These normalise a text as they were told in training. Imported tokenizers
(hainan_k2.text.piece_model) take text as it is written, with its casing and punctuation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hainan_k2.result import letters
from hainan_k2.text.normalisation import Normalisation
from hainan_k2.text.piece_model import BLANK, UNKNOWN, PieceModel


class Tokenizer:
    """The sentencepiece model of a language folder, as `hainan-train-bpe` writes it, or of a model directory.

    >>> tokenizer = Tokenizer("hainan_k2/released")
    >>> tokenizer.decode(tokenizer.encode("Room 7, please."))
    'room seven please'

    Args:
      path: the file `bpe.model`, or the folder that holds it.
    Attributes:
      pieces: (V,) the text of every id; the first piece of a word begins with "▁".
      normalisation: what is done to a text before it is encoded, by its name (hainan_k2.text.normalisation).
      scoring: the same for reference and recognised text before they are scored; an imported tokenizer, whose
        normalisation is none, is scored in the normal form of English.
    Raises:
      ValueError: if there is no model at `path`, its id 0 is not `<blk>`, or it has no `<unk>`.
    """

    def __init__(self, path: str | Path):
        path = Path(path)
        path = path / "bpe.model" if path.is_dir() else path
        if not path.is_file():
            raise ValueError(f"no tokenizer at {path}: make one with `hainan-train-bpe`")
        self._load(path.read_bytes(), str(path))

    @classmethod
    def of_content(cls, content: bytes, where: str) -> Tokenizer:
        """The tokenizer of a file's content; ValueError, beginning with `where`, as for a file."""
        tokenizer = cls.__new__(cls)
        tokenizer._load(content, where)
        return tokenizer

    def _load(self, content: bytes, where: str) -> None:
        import sentencepiece

        if not content:
            raise ValueError(f"{where} is empty")
        try:
            self._model = sentencepiece.SentencePieceProcessor(model_proto=content)
            self.pieces: list[str] = [self._model.id_to_piece(i) for i in range(self._model.get_piece_size())]
        except (RuntimeError, UnicodeDecodeError) as error:
            raise ValueError(f"{where} is not a sentencepiece model: {str(error).strip()}") from None
        if self.pieces[:1] != [BLANK] or UNKNOWN not in self.pieces:
            raise ValueError(
                f"{where}: ids 0 and 1 are {self.pieces[:2]}, not <blk> and <unk>: train it with `hainan-train-bpe`, "
                "or import the model that it belongs to"
            )
        try:
            model = PieceModel.read(content, where)
            self._normalise = Normalisation(model.normalisation)
            self.scoring = Normalisation(model.scoring)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None

    @property
    def normalisation(self) -> str:
        return self._normalise.name

    @property
    def text_rules(self) -> dict[str, str]:
        """How texts are normalised, as config.json of a model directory states it."""
        rules = {"normalisation": self.normalisation}
        return rules if self.normalisation != "none" or self.scoring.name != "none" else {**rules, "scoring": "none"}

    @property
    def vocab_size(self) -> int:
        """V, the number of pieces, `<blk>` and `<unk>` included."""
        return len(self.pieces)

    def serialised(self) -> bytes:
        """The content of the file `bpe.model`."""
        return bytes(self._model.serialized_model_proto())

    def normalise(self, text: str) -> str:
        """The text as it is encoded: its normal form, or the text itself for an imported tokenizer.

        Raises ValueError where the normalisation is a Python function that the user has not named.
        """
        return self._normalise(text)

    def encode(self, text: str) -> list[int]:
        """The token ids of a text, which is normalised first as `normalise` does."""
        return list(self._model.encode(self.normalise(text)))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids: blanks and symbols such as `<|nospeech|>` are skipped, an unknown token is written
        `<unk>`."""
        written = [int(i) for i in ids if letters(self.pieces[int(i)]) is not None]
        return " ".join(self._model.decode(written).split())
