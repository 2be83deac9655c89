"""Turns an ARPA language model into the acceptor G: `G.fst.txt` (OpenFst text) and `G.safetensors` (for k2).

    hainan-arpa-to-fst --arpa data/3gram.arpa --words data/lang_bpe_128/words.txt --out-dir data/lm

Labels are the ids of `--words`; a token-level model takes `tokens.txt`, and `#0`, the symbol of back-off arcs, is then
the id after the last. `k2.Fsa.from_dict(safetensors.torch.load_file("G.safetensors"))` loads the second file.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from hainan_k2.cli import fail, parse
from hainan_k2.config import option
from hainan_k2.files.container import Kind, write_container
from hainan_k2.fsa.language.acceptor import read_arpa_acceptor
from hainan_k2.fsa.language.lexicon import read_words

KIND = Kind("acceptor", "hainan-arpa-to-fst")


@dataclass(frozen=True)
class FstConfig:
    arpa: str = option("", "language model, ARPA, plain or gzipped (required)")
    words: str = option(
        "", "symbol table: words.txt of hainan-make-lexicon, or tokens.txt of hainan-train-bpe (required)"
    )
    out_dir: str = option("", "folder to write to (required)")


def main(argv: Optional[Sequence[str]] = None) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    (config,) = parse(argv, __doc__.split("\n")[0], FstConfig)
    if not config.arpa or not config.words or not config.out_dir:
        fail("give --arpa, --words and --out-dir")
    folder = Path(config.out_dir)
    try:
        words = read_words(Path(config.words))
        acceptor = read_arpa_acceptor(Path(config.arpa), words)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "G.fst.txt").write_text(acceptor.text(), encoding="utf-8")
        write_container(folder / "G.safetensors", KIND, {"arcs": acceptor.arcs()}, {})
    except (ValueError, OSError) as error:
        fail(str(error))
    logging.info(
        "%s: %d states, %d arcs, %d of them back-off",
        folder / "G.fst.txt",
        len(acceptor.final),
        len(acceptor.label),
        int((acceptor.label == words.index("#0")).sum()),
    )


if __name__ == "__main__":
    main()
