"""Makes a lexicon of the words of texts: writes `words.txt`, `lexicon.txt` and `lexicon_disambig.txt`.

    hainan-make-lexicon --text data/train.txt --lang-dir data/lang_bpe_128

Spellings are those of the tokenizer. A text may be a list of words, one per line. Words with letters that the tokenizer
lacks get an id, but no spelling. `--format k2` makes the folder one of icefall: `L.pt` and `L_disambig.pt`, for
`k2.Fsa.from_dict(torch.load(...))`, and a `tokens.txt` with disambiguation symbols.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from hainan_k2.cli import fail, parse, start_logging
from hainan_k2.config import first_names, option
from hainan_k2.files.atomic import write_atomic
from hainan_k2.fsa.k2 import why_no_k2
from hainan_k2.fsa.k2_file import write_k2
from hainan_k2.fsa.language.lexicon import lexicon_fst, make_lexicon, token_table, write_lexicon
from hainan_k2.lang.texts import read_texts
from hainan_k2.text import Tokenizer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LexiconConfig:
    lang_dir: str = option("", "folder with bpe.model, also written to (required)")
    cuts: tuple[str, ...] = option((), "cut manifests to take the words from, separated by commas")
    text: tuple[str, ...] = option((), "text files or word lists, separated by commas")
    format: tuple[str, ...] = option((), "k2: also write the files of icefall's lang folders", ("k2",))


def main(argv: Optional[Sequence[str]] = None) -> None:
    start_logging()
    (config,) = parse(argv, __doc__.split("\n")[0], LexiconConfig)
    if not config.lang_dir or not (config.cuts or config.text):
        fail("give --lang-dir, and --cuts or --text")
    folder = Path(config.lang_dir)
    if config.format and why_no_k2():
        fail(f"--format k2 needs k2: {why_no_k2()}")
    if config.format and (folder / "model.safetensors").exists():
        fail(f"{folder} is a model directory, whose tokens.txt must stay: copy its bpe.model to a folder of its own")
    try:
        tokenizer = Tokenizer(config.lang_dir)
        texts = read_texts(config.cuts, config.text, tokenizer.normalise)
        words = [word for text in texts for word in text.split()]
        lexicon, missing = make_lexicon(words, tokenizer)
        write_lexicon(lexicon, tokenizer.pieces, folder)
        if config.format:
            write_k2(folder / "L.pt", lexicon_fst(lexicon, tokenizer.vocab_size, disambiguate=False))
            write_k2(folder / "L_disambig.pt", lexicon_fst(lexicon, tokenizer.vocab_size))
            write_atomic(folder / "tokens.txt", token_table(lexicon, tokenizer.pieces))
    except (ValueError, OSError) as error:
        fail(str(error))
    lengths = [len(pieces) for _, pieces in lexicon.spellings[1:]]  # without <UNK>
    logger.info(
        "%s: %d words, %d spelled, %.2f pieces each",
        config.lang_dir,
        len(lengths) + len(missing),
        len(lengths),
        sum(lengths) / max(1, len(lengths)),
    )
    if missing:
        logger.warning(
            "%d words have letters that the tokenizer lacks: %s",
            len(missing),
            first_names(missing, 10),
        )


if __name__ == "__main__":
    main()
