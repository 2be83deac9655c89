"""Compiles a closed grammar for `decode.py --method grammar`: checks it, prints its size, writes it.

    hainan-compile-grammar --grammar digits --lang-dir data/lang_bpe_500 --examples 5 --out digits.safetensors
    hainan-compile-grammar --grammar G.fst --isymbols words.txt --osymbols words.txt --lang-dir ... \\
        --out G.safetensors

A grammar is a grammar text (lang/README.md describes the language), the name of an example of the package (digits,
dates, home, spelling), or an OpenFst text or binary over words or tokens. `decode.py --grammar` reads them uncompiled
too, with the same options; a compiled one needs none of them.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from hainan_k2.cli import fail, parse, start_logging
from hainan_k2.config import option
from hainan_k2.fsa.language.fst_grammar import LEVELS
from hainan_k2.fsa.language.grammar import Grammar
from hainan_k2.fsa.language.grammar_files import find_grammar, load_grammar
from hainan_k2.fsa.language.grammar_sampling import draw_sentence
from hainan_k2.fsa.language.grammar_text import parse_grammar
from hainan_k2.fsa.language.openfst import read_text
from hainan_k2.text import Tokenizer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GrammarConfig:
    grammar: str = option(
        "", "grammar text, OpenFst text or binary, or the name of an example: digits, dates, home, spelling (required)"
    )
    lang_dir: str = option("", "folder with bpe.model, of hainan-train-bpe (required)")
    out: str = option("", ".safetensors file to write; none: only check the grammar")
    examples: int = option(0, "print that many random sentences of a grammar text", at_least=0)
    level: str = option(
        "auto",
        "labels of an OpenFst file; auto: tokens if they are numbers or one contains \u2581, else words",
        LEVELS,
    )
    isymbols: str = option("", "symbol table of an OpenFst file's input labels, lines `symbol id`")
    osymbols: str = option("", "symbol table of its output labels; without one, numbers are written as they are")
    acceptor: Optional[bool] = option(
        None, "whether the arcs of an OpenFst text have no output label; none: as their fields suggest"
    )


def compile_grammar(config: GrammarConfig) -> Grammar:
    """Reads and checks the grammar, and writes it to config.out; ValueError as read_grammar."""
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


def example_sentences(config: GrammarConfig) -> list[str]:
    """config.examples random sentences of a grammar text; ValueError as parse_grammar."""
    if not config.examples:
        return []
    path = find_grammar(config.grammar)
    rules, rng = parse_grammar(read_text(path), str(path)), random.Random(0)
    return [draw_sentence(rules, rng) for _ in range(config.examples)]


def main(argv: Optional[Sequence[str]] = None) -> None:
    start_logging()
    (config,) = parse(argv, __doc__.split("\n")[0], GrammarConfig)
    try:
        grammar = compile_grammar(config)
        for sentence in example_sentences(config):
            print(sentence)
    except ValueError as error:
        fail(str(error))
    kind = f"a transducer with {len(grammar.outputs) - 1} outputs" if grammar.transduces else "an acceptor"
    logger.info(
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
