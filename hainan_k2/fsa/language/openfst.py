"""OpenFst's text format and symbol tables, read in Python, so that a broken file is a ValueError and no crash.

    0 1 call call 0.5      An arc: source, target, input label, output label, cost. Acceptors have no output label.
    1 2 anna anna
    2 0.25                 A final state and its cost. The state of the first line is the start.

A cost is a negative natural logarithm, 0 where none is given; label 0 is epsilon.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Optional, Union

from hainan_k2.fsa.language.automaton import MAX_ARCS

# A number that is no label: with a sign, a point or an exponent, or not finite.
COST = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+(?=e))(e[-+]?\d+)?|[-+]\d+|[-+]?(inf|infinity|nan)", re.ASCII | re.I)


class FstArc(NamedTuple):
    """An arc; `place` is its file and line, or state, for messages."""

    source: int
    target: int
    input: str
    output: str
    cost: float
    place: str


class FstFinal(NamedTuple):
    """A final state; an infinite cost makes it none."""

    state: int
    cost: float


@dataclass(frozen=True)
class Fst:
    """An FST with the labels that its file has: numbers in a binary file, symbols or numbers in a text."""

    start: int
    arcs: tuple[FstArc, ...]
    finals: dict[int, float]
    input_symbols: Optional[dict[int, str]] = None
    output_symbols: Optional[dict[int, str]] = None


def read_text(path: Union[str, Path]) -> str:
    """The text of a UTF-8 file; ValueError "PATH: ..." where it cannot be read as such."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: byte {error.start}") from None


def read_symbols(text: str, where: str) -> dict[int, str]:
    """{id: symbol} of a symbol table, a line `symbol id` each; ValueError "WHERE:LINE: ..." on any other line."""
    symbols: dict[int, str] = {}
    names: set[str] = set()
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split(None, 2)
        if not fields:
            continue
        if len(fields) != 2 or not is_number(fields[1], 9):
            raise ValueError(f"{where}:{number}: a symbol table has lines `symbol id`, not {shown(line)}")
        symbol, id = fields[0], int(fields[1])
        if id in symbols or symbol in names:
            raise ValueError(f"{where}:{number}: {symbol} {id} repeats a symbol or an id")
        symbols[id] = symbol
        names.add(symbol)
    return symbols


def read_fst_lines(text: str, where: str, acceptor: Optional[bool] = None) -> Iterator[Union[FstArc, FstFinal]]:
    """The arcs and final states of OpenFst's text format, in the order of the file.

    Args:
      acceptor: whether arcs have no output label. None: if no arc has five fields, one of three or a fourth field that
        can only be a cost (0.5, -1, 1e-3, but not 7) makes it an acceptor; otherwise it is a transducer.
    Raises:
      ValueError: "WHERE:LINE: ..." on a line that is neither an arc nor a final state, and on costs that are no finite
        numbers.
    """
    if acceptor is None:
        acceptor = _is_acceptor(text)
    num_labels = 1 if acceptor else 2
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split(None, 6)
        if not fields:
            continue
        place = f"{where}:{number}"
        states, labels = (1, 0) if len(fields) <= 2 else (2, num_labels)
        if not states + labels <= len(fields) <= states + labels + 1:
            kind = "an acceptor" if acceptor else "a transducer"
            form = "source target label [cost]" if acceptor else "source target input output [cost]"
            count = len(fields) if len(fields) < 7 else "more than 6"
            raise ValueError(f"{place}: {count} fields; {kind} has lines `{form}` and `state [cost]`")
        source, target = (_state(field, place) for field in (fields[0], fields[states - 1]))
        cost = fields[states + labels] if len(fields) > states + labels else "0"
        if labels:
            yield FstArc(source, target, fields[2], fields[1 + labels], _cost(cost, place), place)
        elif cost.lower() in ("inf", "infinity"):  # fstprint writes so of a state that is not final
            yield FstFinal(source, math.inf)
        else:
            yield FstFinal(source, _cost(cost, place))


def _is_acceptor(text: str) -> bool:
    """Whether the arcs of a text seem to have no output label."""
    seen = False
    for fields in (line.split(None, 5) for line in text.splitlines()):
        if len(fields) == 5:
            return False
        seen = seen or len(fields) == 3 or len(fields) == 4 and COST.fullmatch(fields[3]) is not None
    return seen


def read_fst_text(text: str, where: str, acceptor: Optional[bool] = None) -> Fst:
    """An FST from OpenFst's text format; its first line begins with the start state.

    Args:
      acceptor: as of read_fst_lines.
    Raises:
      ValueError: as read_fst_lines, for an empty text, and for more than MAX_ARCS lines.
    """
    start, arcs, finals = None, [], {}
    for entry in read_fst_lines(text, where, acceptor):
        if start is None:
            start = entry[0]
        if isinstance(entry, FstArc):
            arcs.append(entry)
        elif entry.cost < math.inf:
            finals[entry.state] = entry.cost
        if len(arcs) > MAX_ARCS:
            raise ValueError(f"{where}: more than {MAX_ARCS} arcs: too large for an exact grammar, an n-gram LM may do")
    if start is None:
        raise ValueError(f"{where}: empty")
    return Fst(start, tuple(arcs), finals)


def _state(field: str, place: str) -> int:
    if not is_number(field, 18):
        raise ValueError(f"{place}: {shown(field)} is no state number")
    return int(field)


def is_number(field: str, digits: int) -> bool:
    """Whether a field is one to `digits` ASCII digits."""
    return field.isdecimal() and field.isascii() and len(field) <= digits


def _cost(field: str, place: str) -> float:
    try:
        value = float(field)
    except ValueError:
        raise ValueError(f"{place}: {shown(field)} is no cost") from None
    return finite(value, place)


def finite(cost: float, place: str) -> float:
    """The cost; ValueError "PLACE: ..." unless it is finite, and at most 1e30."""
    if not math.isfinite(cost) or abs(cost) > 1e30:
        raise ValueError(f"{place}: a cost of {cost}: it must be a finite number")
    return cost


def shown(text: str) -> str:
    """A text in a message: quoted, 40 characters at most."""
    return repr(text if len(text) <= 40 else text[:37] + "...")
