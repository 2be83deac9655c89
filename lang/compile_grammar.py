"""Compiles a closed grammar for `decode.py --method grammar`: checks it, says what it holds, writes it as .safetensors.

    python lang/compile_grammar.py --grammar lang/grammars/digits.grammar --lang-dir data/lang_bpe_500 \\
        --out digits.safetensors
    python lang/compile_grammar.py --grammar G.fst --isymbols words.txt --osymbols words.txt --lang-dir ... \\
        --out G.safetensors

A grammar is a text, of which lang/grammars/ has examples, or an OpenFst text or binary file over words or tokens. Texts
and OpenFst files that bring their symbols need no compiling: `decode.py --grammar` reads them as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from hainan_k2.config import fail, option, parse
from hainan_k2.fsa.grammar import LEVELS, Grammar, read_grammar
from hainan_k2.fsa.openfst import read_symbols
from hainan_k2.text import Tokenizer


@dataclass(frozen=True)
class GrammarConfig:
    grammar: str = option("", "grammar text, OpenFst text or OpenFst binary (required)")
    lang_dir: str = option("", "folder with bpe.model, of lang/train_bpe.py (required)")
    out: str = option("", "file to write, .safetensors; none: only check")
    level: str = option("auto", "what an OpenFst file's labels are; auto: tokens if they are numbers or one holds "
                        "\u2581, else words", LEVELS)
    isymbols: str = option("", "symbol table of an OpenFst file's input labels, lines `symbol id`")
    osymbols: str = option("", "symbol table of its output labels; numbers are put out as such without")
    acceptor: Optional[bool] = option(None, "whether the arcs of an OpenFst text have no output label; none: seen from "
                                      "their fields")


def symbols(path: str) -> Optional[dict[int, str]]:
    """The symbol table of a file, None of none."""
    if not path:
        return None
    try:
        return read_symbols(Path(path).read_text(encoding="utf-8"), path)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None


def compile_grammar(config: GrammarConfig) -> Grammar:
    """Read, check and write; ValueError as read_grammar."""
    if not config.grammar or not config.lang_dir:
        raise ValueError("give --grammar and --lang-dir")
    grammar = read_grammar(config.grammar, Tokenizer(config.lang_dir), config.level, symbols(config.isymbols),
                           symbols(config.osymbols), config.acceptor)
    if config.out:
        try:
            grammar.save(config.out)
        except OSError as error:
            raise ValueError(f"cannot write {config.out}: {error.strerror}") from None
    return grammar


def main(argv: Optional[Sequence[str]] = None) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    config, = parse(argv, __doc__.split("\n")[0], GrammarConfig)
    try:
        grammar = compile_grammar(config)
    except ValueError as error:
        fail(str(error))
    kind = f"a transducer with {len(grammar.outputs) - 1} outputs" if grammar.transduces else "an acceptor"
    logging.info("%s: %s of %d states and %d arcs over %d tokens%s", config.grammar, kind, grammar.num_states,
                 len(grammar.arcs), len(grammar.tokens()), f", written to {config.out}" if config.out else "")


if __name__ == "__main__":
    main()
