"""Compiles a closed grammar for `decode.py --method grammar`: checks it, says what it holds, writes it.

    hainan-compile-grammar --grammar digits --lang-dir data/lang_bpe_500 --out digits.safetensors
    hainan-compile-grammar --grammar G.fst --isymbols words.txt --osymbols words.txt --lang-dir ... \\
        --out G.safetensors

A grammar is a text, one of the package's examples by name (digits, dates, home, spelling), or an OpenFst text or binary
file over words or tokens. None of them needs compiling: `decode.py --grammar` reads them as they are, and takes
--isymbols and --osymbols too.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from hainan_k2.cli import fail, parse
from hainan_k2.config import option
from hainan_k2.fsa.language.grammar import LEVELS, Grammar
from hainan_k2.fsa.language.grammar_files import load_grammar
from hainan_k2.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class GrammarConfig:
    grammar: str = option(
        "", "grammar text, OpenFst text or binary, or the name of an example: digits, dates, home, spelling (required)"
    )
    lang_dir: str = option("", "folder with bpe.model, of hainan-train-bpe (required)")
    out: str = option("", "file to write, .safetensors; none: only check")
    level: str = option(
        "auto",
        "what an OpenFst file's labels are; auto: tokens if they are numbers or one holds \u2581, else words",
        LEVELS,
    )
    isymbols: str = option("", "symbol table of an OpenFst file's input labels, lines `symbol id`")
    osymbols: str = option("", "symbol table of its output labels; numbers are put out as such without")
    acceptor: Optional[bool] = option(
        None, "whether the arcs of an OpenFst text have no output label; none: seen from their fields"
    )


def compile_grammar(config: GrammarConfig) -> Grammar:
    """Read, check and write; ValueError as read_grammar."""
    if not config.grammar or not config.lang_dir:
        raise ValueError("give --grammar and --lang-dir")
    grammar = load_grammar(
        config.grammar, Tokenizer(config.lang_dir), config.isymbols, config.osymbols, config.level, config.acceptor
    )
    if config.out:
        try:
            grammar.save(config.out)
        except OSError as error:
            raise ValueError(f"cannot write {config.out}: {error.strerror}") from None
    return grammar


def main(argv: Optional[Sequence[str]] = None) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    (config,) = parse(argv, __doc__.split("\n")[0], GrammarConfig)
    try:
        grammar = compile_grammar(config)
    except ValueError as error:
        fail(str(error))
    kind = f"a transducer with {len(grammar.outputs) - 1} outputs" if grammar.transduces else "an acceptor"
    logging.info(
        "%s: %s of %d states and %d arcs over %d tokens%s",
        config.grammar,
        kind,
        grammar.num_states,
        len(grammar.arcs),
        len(grammar.tokens()),
        f", written to {config.out}" if config.out else "",
    )


if __name__ == "__main__":
    main()
