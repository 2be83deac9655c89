"""Trains a BPE tokenizer on texts of cut manifests or plain files: writes `bpe.model` and `tokens.txt`.

hainan-train-bpe --cuts data/cuts_train.jsonl.gz --vocab-size 128 --lang-dir data/lang_bpe_128
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from hainan_k2.cli import fail, parse, start_logging
from hainan_k2.config import option
from hainan_k2.files.atomic import write_atomic
from hainan_k2.lang.texts import read_texts
from hainan_k2.text import Normalisation, Tokenizer
from hainan_k2.text.piece_model import PieceModel

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BpeConfig:
    lang_dir: str = option("", "folder to write to (required)")
    cuts: tuple[str, ...] = option((), "cut manifests to take the text from, separated by commas")
    text: tuple[str, ...] = option((), "text files, one sentence per line, separated by commas")
    vocab_size: int = option(500, "number of pieces, <blk> and <unk> included", at_least=3, at_most=10**6)
    normalise: str = option(
        "english",
        "what is done to texts, now and whenever the tokenizer is used: english, german ..., lower, none, or a Python "
        "function as module:function",
    )


def train_bpe(texts: Iterable[str], vocab_size: int) -> bytes:
    """A serialised sentencepiece BPE model: id 0 is `<blk>`, 1 is `<unk>`, then come the pieces.

    Raises:
      ValueError: if there is no text, or it has too many letters or too few words for this vocabulary size.
    """
    import sentencepiece

    model = io.BytesIO()
    texts = list(texts)
    if not texts:
        raise ValueError("no text to train a tokenizer on")
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            pad_id=0,
            pad_piece="<blk>",
            unk_id=1,
            unk_piece="<unk>",
            unk_surface=" <unk> ",
            bos_id=-1,
            eos_id=-1,
            character_coverage=1.0,
            normalization_rule_name="identity",
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:  # sentencepiece's message tells which size is possible
        reason = str(error).rpartition("] ")[2].strip()
        raise ValueError(f"vocabulary size {vocab_size} does not fit this text: {reason}") from None
    return model.getvalue()


def write_lang(model: bytes, folder: Path) -> Tokenizer:
    """Writes `tokens.txt`, with lines `piece id`, and then `bpe.model`, so that both exist if the latter does."""
    import sentencepiece

    folder.mkdir(parents=True, exist_ok=True)
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    tokens = "".join(f"{pieces.id_to_piece(i)} {i}\n" for i in range(pieces.get_piece_size()))
    write_atomic(folder / "tokens.txt", tokens)
    write_atomic(folder / "bpe.model", model)
    return Tokenizer(folder)


def main(argv: Optional[Sequence[str]] = None) -> None:
    start_logging()
    (config,) = parse(argv, __doc__.split("\n")[0], BpeConfig)
    if not config.lang_dir or not (config.cuts or config.text):
        fail("give --lang-dir, and --cuts or --text")
    try:
        normalisation = Normalisation(config.normalise)
        texts = list(read_texts(config.cuts, config.text, normalisation))
        model = train_bpe(texts, config.vocab_size)
        if normalisation.name != "english":
            model = PieceModel.read(model, "").with_normalisation(normalisation.name).write()
        tokenizer = write_lang(model, Path(config.lang_dir))
    except (ValueError, OSError) as error:
        fail(str(error))
    words = [word for text in texts for word in text.split()]
    pieces = sum(len(tokenizer.encode(text)) for text in texts)
    logger.info(
        "%s: %d pieces from %d texts, %d words (%d distinct), %.2f pieces a word",
        config.lang_dir,
        tokenizer.vocab_size,
        len(texts),
        len(words),
        len(set(words)),
        pieces / len(words),
    )


if __name__ == "__main__":
    main()
