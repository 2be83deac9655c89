"""The grammar of `--grammar NAME`: a file, or one of the example grammars of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from hainan_k2.fsa.language.grammar import Grammar, read_grammar
from hainan_k2.fsa.language.openfst import read_symbols, read_text
from hainan_k2.fsa.language.spelling import Vocabulary

EXAMPLES = Path(__file__).parent / "grammars"


def find_grammar(name: str) -> Path:
    """The path `name` or, if there is no such file, that of the example grammar of this name.

    Raises:
      ValueError: with the names of the examples, if `name` has no folder and is neither a file nor an example.
    """
    example = EXAMPLES / f"{name}.grammar"
    if Path(name).exists() or Path(name).name != name:
        return Path(name)
    if not example.is_file():
        names = ", ".join(sorted(path.stem for path in EXAMPLES.glob("*.grammar")))
        raise ValueError(f"{name}: no such file, and no example grammar either: there are {names}")
    return example


def load_grammar(
    name: str,
    tokenizer: Vocabulary,
    isymbols: str = "",
    osymbols: str = "",
    level: str = "auto",
    acceptor: Optional[bool] = None,
) -> Grammar:
    """read_grammar of the file find_grammar(name).

    Args:
      isymbols, osymbols: files of symbol tables, "" for none.
      level, acceptor: as of read_grammar.
    Raises:
      ValueError: as find_grammar and read_grammar.
    """
    return read_grammar(find_grammar(name), tokenizer, level, _symbols(isymbols), _symbols(osymbols), acceptor)


def _symbols(path: str) -> Optional[dict[int, str]]:
    return read_symbols(read_text(path), path) if path else None
