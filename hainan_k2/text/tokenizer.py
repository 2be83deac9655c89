"""The BPE tokenizer: normalised text to token ids and back.

Id 0 is `<blk>`, the blank of the transducer; id 1 is `<unk>`, for letters that the tokenizer was not trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hainan_k2.text.normalise import normalise


class Tokenizer:
    """The sentencepiece BPE model of a language folder, as `hainan-train-bpe` writes it.

    >>> tokenizer = Tokenizer("hainan_k2/released")
    >>> tokenizer.decode(tokenizer.encode("Room 7, please."))
    'room seven please'

    Args:
      path: the file `bpe.model`, or the folder that holds it.
    Attributes:
      pieces: (V,) the text of every id; the first piece of a word begins with "▁".
    Raises:
      ValueError: if there is no model at `path`, or its ids 0 and 1 are not `<blk>` and `<unk>`.
    """

    def __init__(self, path: str | Path):
        import sentencepiece

        path = Path(path)
        path = path / "bpe.model" if path.is_dir() else path
        if not path.is_file():
            raise ValueError(f"no tokenizer at {path}: make one with `hainan-train-bpe`")
        content = path.read_bytes()
        if not content:
            raise ValueError(f"{path} is empty")
        try:
            self._model = sentencepiece.SentencePieceProcessor(model_proto=content)
            self.pieces: list[str] = [self._model.id_to_piece(i) for i in range(self._model.get_piece_size())]
        except (RuntimeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a sentencepiece model: {str(error).strip()}") from None
        if self.pieces[:2] != ["<blk>", "<unk>"]:
            raise ValueError(
                f"{path}: ids 0 and 1 are {self.pieces[:2]}, not <blk> and <unk>: train it with `hainan-train-bpe`"
            )

    @property
    def vocab_size(self) -> int:
        """V, the number of pieces, `<blk>` and `<unk>` included."""
        return len(self.pieces)

    def serialised(self) -> bytes:
        """The content of the file `bpe.model`."""
        return bytes(self._model.serialized_model_proto())

    def encode(self, text: str) -> list[int]:
        """The token ids of a text, which is normalised first."""
        return list(self._model.encode(normalise(text)))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids: blanks are skipped, an unknown token is written `<unk>`."""
        return " ".join(self._model.decode([int(i) for i in ids]).split())
