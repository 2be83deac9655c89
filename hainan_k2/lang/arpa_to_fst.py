"""Converts an ARPA language model to the acceptor G: `G.fst.txt` (OpenFst text) and `G.safetensors` (for k2).

    hainan-arpa-to-fst --arpa data/3gram.arpa --words data/lang_bpe_128/words.txt --out-dir data/lm

Labels are the ids of `--words`; `#0` is the label of back-off arcs. For a token-level model give `tokens.txt`; the id
of `#0` is then the number of tokens. `k2.Fsa.from_dict(safetensors.torch.load_file("G.safetensors"))` loads the second
file. `--format k2` also writes `G.pt`, for `k2.Fsa.from_dict(torch.load("G.pt"))`, as icefall keeps it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from hainan_k2.cli import fail, parse, start_logging
from hainan_k2.config import option
from hainan_k2.files.atomic import write_atomic
from hainan_k2.files.container import Kind, write_container
from hainan_k2.fsa.k2 import why_no_k2
from hainan_k2.fsa.k2_file import write_k2
from hainan_k2.fsa.language.lexicon import BACKOFF, read_words
from hainan_k2.fsa.language.ngram_acceptor import read_arpa_acceptor

KIND = Kind("acceptor", "hainan-arpa-to-fst")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FstConfig:
    arpa: str = option("", "n-gram model in ARPA format, plain or gzipped (required)")
    words: str = option(
        "", "symbol table: words.txt of hainan-make-lexicon, or tokens.txt of hainan-train-bpe (required)"
    )
    out_dir: str = option("", "folder to write to (required)")
    format: tuple[str, ...] = option((), "k2: also write G.pt", ("k2",))


def main(argv: Optional[Sequence[str]] = None) -> None:
    start_logging()
    (config,) = parse(argv, __doc__.split("\n")[0], FstConfig)
    if not config.arpa or not config.words or not config.out_dir:
        fail("give --arpa, --words and --out-dir")
    if config.format and why_no_k2():
        fail(f"--format k2 needs k2: {why_no_k2()}")
    folder = Path(config.out_dir)
    try:
        words = read_words(Path(config.words))
        acceptor = read_arpa_acceptor(Path(config.arpa), words)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "G.fst.txt", acceptor.text())
        write_container(folder / "G.safetensors", KIND, {"arcs": acceptor.arcs()}, {})
        if config.format:
            write_k2(folder / "G.pt", acceptor.fsa())
    except (ValueError, OSError) as error:
        fail(str(error))
    logger.info(
        "%s: %d states, %d arcs, %d of them back-off",
        folder / "G.fst.txt",
        len(acceptor.final),
        len(acceptor.label),
        int((acceptor.label == words.index(BACKOFF)).sum()),
    )


if __name__ == "__main__":
    main()
