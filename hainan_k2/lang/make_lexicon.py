"""Makes a lexicon of the words of texts: writes `words.txt`, `lexicon.txt` and `lexicon_disambig.txt`.

    hainan-make-lexicon --text data/train.txt --lang-dir data/lang_bpe_128

Spellings are those of the tokenizer. A text may be a list of words, one per line. Words with letters that the tokenizer
lacks get an id, but no spelling.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from hainan_k2.cli import fail, parse, start_logging
from hainan_k2.config import option
from hainan_k2.fsa.language.lexicon import make_lexicon, write_lexicon
from hainan_k2.lang.texts import read_texts
from hainan_k2.text import Tokenizer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LexiconConfig:
    lang_dir: str = option("", "folder with bpe.model, also written to (required)")
    cuts: tuple[str, ...] = option((), "cut manifests to take the words from, separated by commas")
    text: tuple[str, ...] = option((), "text files or word lists, separated by commas")


def main(argv: Optional[Sequence[str]] = None) -> None:
    start_logging()
    (config,) = parse(argv, __doc__.split("\n")[0], LexiconConfig)
    if not config.lang_dir or not (config.cuts or config.text):
        fail("give --lang-dir, and --cuts or --text")
    try:
        tokenizer = Tokenizer(config.lang_dir)
        texts = read_texts(config.cuts, config.text, tokenizer.normalise)
        words = [word for text in texts for word in text.split()]
        lexicon, missing = make_lexicon(words, tokenizer)
        write_lexicon(lexicon, tokenizer.pieces, Path(config.lang_dir))
    except (ValueError, OSError) as error:
        fail(str(error))
    logger.info(
        "%s: %d words, %d spelled, %.2f pieces each",
        config.lang_dir,
        len(lexicon.spellings) + len(missing),
        len(lexicon.spellings),
        sum(len(p) for _, p in lexicon.spellings) / max(1, len(lexicon.spellings)),
    )
    if missing:
        logger.warning(
            "%d words have letters that the tokenizer lacks: %s",
            len(missing),
            " ".join(missing[:10]) + (" ..." if len(missing) > 10 else ""),
        )


if __name__ == "__main__":
    main()
