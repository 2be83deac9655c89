"""Automata over tokens from OpenFst files over words or tokens: labels become symbols, and words their spellings.

(q) --- word : output / score ---> (r)     becomes

(q) --- 1st token : output / score ---> (new) --- 2nd token ---> ... --- last token ---> (r)
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Optional

from hainan_k2.fsa.language.automaton import EPSILON, Arc, Automaton
from hainan_k2.fsa.language.openfst import Fst, is_number
from hainan_k2.fsa.language.spelling import Speller, is_epsilon
from hainan_k2.result import WORD_START

LEVELS = ("auto", "word", "token")

logger = logging.getLogger(__name__)


def spell_fst(
    fst: Fst,
    where: str,
    speller: Speller,
    level: str,
    input_symbols: Optional[dict[int, str]],
    output_symbols: Optional[dict[int, str]],
) -> tuple[Automaton, bool]:
    """The automaton over token ids of an FST over words or tokens, and whether it has outputs.

    Args:
      where: the file's name, for messages.
      level, input_symbols, output_symbols: as of read_grammar, with the symbol tables of the file itself, if any.
    Raises:
      ValueError: "PLACE: ..." on labels that the symbol tables or the tokenizer do not have.
    """
    places = [arc.place for arc in fst.arcs]
    inputs = _symbols([arc.input for arc in fst.arcs], input_symbols, places)
    outputs = _symbols([arc.output for arc in fst.arcs], output_symbols, places)
    numbers = input_symbols is None and all(_is_id(arc.input) for arc in fst.arcs)
    if level == "auto":
        level = "token" if numbers or any(WORD_START in symbol for symbol in inputs) else "word"
        if numbers and fst.arcs:
            logger.warning(
                "%s has numbers as labels and no symbol table: they are read as ids of the tokenizer's %d tokens; if "
                "they are ids of words, give their symbol table by --isymbols",
                where,
                len(speller.pieces),
            )
    if numbers and level == "word":
        raise ValueError(f"{where}: a word-level FST of numbers needs the symbol table of its words")
    transduces = (
        inputs != outputs
        if output_symbols
        else any(arc.input != arc.output for arc, *names in zip(fst.arcs, inputs, outputs) if any(names))
    )
    arcs: list[Arc] = []
    fresh = 1 + max([fst.start, *fst.finals, *(max(arc.source, arc.target) for arc in fst.arcs)])
    for arc, symbol, output in zip(fst.arcs, inputs, outputs):
        try:
            ids = [EPSILON] if not symbol else _ids(symbol, speller, level, numbers)
        except ValueError as error:
            raise ValueError(f"{arc.place}: {error}") from None
        states = [arc.source, *range(fresh, fresh + len(ids) - 1), arc.target]
        fresh += len(ids) - 1
        first = (output,) if output and transduces else ()
        for i, id in enumerate(ids):
            arcs.append(Arc(states[i], states[i + 1], id, () if i else first, 0.0 if i else -arc.cost))
    return Automaton(fst.start, tuple(arcs), {state: -cost for state, cost in fst.finals.items()}), transduces


def _is_id(label: str) -> bool:
    return is_number(label, 10)


def _symbols(labels: Sequence[str], table: Optional[dict[int, str]], places: Sequence[str]) -> list[str]:
    """The symbol of each label, "" for epsilon. With a table, labels are its symbols or, if not all are, its ids."""
    if table is None:
        zero = "0" if all(map(_is_id, labels)) else None
        return ["" if label == zero or is_epsilon(label) else label for label in labels]
    by_name = set(table.values()).issuperset(labels)
    symbols = []
    for label, place in zip(labels, places):
        symbol = label if by_name else table.get(int(label)) if _is_id(label) else None
        if symbol is None and label != "0":
            raise ValueError(f"{place}: unknown symbol {label[:40]!r}: not in the symbol table of {len(table)}")
        symbols.append("" if symbol is None or symbol == table.get(0) or is_epsilon(symbol) else symbol)
    return symbols


def _ids(symbol: str, speller: Speller, level: str, numbers: bool) -> list[int]:
    if level == "word":
        return speller.spell(symbol)
    if not numbers:
        return [speller.piece(symbol)]
    if int(symbol) >= len(speller.pieces):
        raise ValueError(
            f"token {symbol} is beyond the tokenizer's {len(speller.pieces)} pieces: an FST of words "
            "needs their symbol table (--isymbols)"
        )
    return [int(symbol)]
