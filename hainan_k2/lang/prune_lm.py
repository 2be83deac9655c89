"""Prunes an ARPA language model over tokens or words, and writes it as a small file that loads at once.

    hainan-prune-lm --arpa mix.arpa --lang-dir lang_bpe_500 --ngrams 500000 --out lm.safetensors

N-grams are removed by relative entropy (Stolcke 1998), probabilities are rounded to 8 bits: 7 bytes for each n-gram and
about 2 for its history. `--lm` of decode.py and transcribe.py reads the file, and `hainan-export --lm` puts it into a
model directory. With --test the perplexity of a text per token is printed before and after.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from hainan_k2.cli import errors_in_one_line, fail, parse, start_logging
from hainan_k2.config import option
from hainan_k2.fsa.language.lm_file import Lm, read_lm, write_lm
from hainan_k2.fsa.language.lookahead_lm import LookaheadLm
from hainan_k2.fsa.language.pruning import prune
from hainan_k2.lang.texts import read_texts
from hainan_k2.text import Tokenizer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PruningConfig:
    arpa: str = option("", "ARPA file over tokens or words (required)")
    lang_dir: str = option("", "folder with bpe.model (required)")
    ngrams: int = option(0, "n-grams to keep at most; 0: all", at_least=0)
    test: str = option("", "text whose perplexity is printed, one sentence per line")
    test_cuts: str = option("", "cut manifest with texts whose perplexity is printed")
    out: str = option("", "file to write, .safetensors (required)")


def perplexity(lm: Lm, sentences: Sequence[Sequence[int]]) -> float:
    """Per token and end of sentence, of sentences of token ids."""
    return math.exp(-float(lm.score(sentences).sum()) / sum(len(sentence) + 1 for sentence in sentences))


def main(argv: Optional[Sequence[str]] = None) -> None:
    start_logging()
    (config,) = parse(argv, __doc__.split("\n")[0], PruningConfig)
    if not config.arpa or not config.lang_dir or not config.out:
        fail("give --arpa, --lang-dir and --out")
    with errors_in_one_line():
        if not config.out.endswith(".safetensors"):
            raise ValueError(f"--out {config.out}: the name of such a file ends in .safetensors")
        tokenizer = Tokenizer(config.lang_dir)
        whole = read_lm(config.arpa, tokenizer.pieces, tokenizer.encode)
        pruned = whole
        if config.ngrams:
            pruned = whole.pruned(config.ngrams) if isinstance(whole, LookaheadLm) else prune(whole, config.ngrams)
        write_lm(config.out, pruned, tokenizer.pieces)
        written = read_lm(config.out, tokenizer.pieces)
        size = Path(config.out).stat().st_size / 1e6
        logger.info("%s: %d of %d n-grams, %.1f MB", config.out, written.num_arcs, whole.num_arcs, size)
        cuts, files = ([name] if name else [] for name in (config.test_cuts, config.test))
        sentences = [tokenizer.encode(text) for text in read_texts(cuts, files, tokenizer.normalise)]
        if sentences:
            logger.info("perplexity: %.3f, before %.3f", perplexity(written, sentences), perplexity(whole, sentences))


if __name__ == "__main__":
    main()
