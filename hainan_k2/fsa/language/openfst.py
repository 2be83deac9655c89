"""OpenFst's files - text, binary and symbol tables - read in Python, so that a broken one is a ValueError and no crash.

Text has a line `source target input [output] [cost]` for every arc, `state [cost]` for every final state, and begins
with the start state. Binary files are of type vector or const over standard or log arcs, as fstcompile writes them.
A cost is a negative natural logarithm; label 0 hears or says nothing.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Optional, Union

from hainan_k2.fsa.language.automaton import MAX_ARCS

FST_MAGIC, SYMBOLS_MAGIC = 2125659606, 2125658996
HAS_INPUT_SYMBOLS, HAS_OUTPUT_SYMBOLS, IS_ALIGNED = 1, 2, 4
NO_STATE = -1

# A number that is no label: with a sign, a point or an exponent, or not finite.
COST = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+(?=e))(e[-+]?\d+)?|[-+]\d+|[-+]?(inf|infinity|nan)", re.ASCII | re.I)


class FstArc(NamedTuple):
    """`place` says where in the file it stands."""

    source: int
    target: int
    input: str
    output: str
    cost: float
    place: str


@dataclass(frozen=True)
class Fst:
    """Labels are as in the file: numbers in binary files, what the text says in texts."""

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
        if len(fields) != 2 or not re.fullmatch(r"\d{1,9}", fields[1], re.ASCII):
            raise ValueError(f"{where}:{number}: a symbol table has lines `symbol id`, not {_shown(line)}")
        symbol, id = fields[0], int(fields[1])
        if id in symbols or symbol in names:
            raise ValueError(f"{where}:{number}: {symbol} {id} has a symbol or an id that stands above already")
        symbols[id] = symbol
        names.add(symbol)
    return symbols


def read_fst_text(text: str, where: str, acceptor: Optional[bool] = None) -> Fst:
    """An FST from OpenFst's text format.

    Args:
      acceptor: whether arcs have no output label. None: if no arc has five fields, one of three or a fourth field that
        can only be a cost (0.5, -1, 1e-3, but not 7) makes it an acceptor; otherwise it is a transducer.
    Raises:
      ValueError: "WHERE:LINE: ..." on a line that is neither an arc nor a final state, on costs that are no finite
        numbers, on more than MAX_ARCS arcs.
    """
    lines = [(number, line.split(None, 6)) for number, line in enumerate(text.splitlines(), start=1)]
    lines = [(number, fields) for number, fields in lines if fields]
    if not lines:
        raise ValueError(f"{where}: empty")
    if len(lines) > MAX_ARCS:
        raise ValueError(f"{where}: more than {MAX_ARCS} arcs: too large for an exact grammar, an n-gram LM may do")
    if acceptor is None:
        acceptor = not any(len(fields) == 5 for _, fields in lines) and any(
            len(fields) == 3 or len(fields) == 4 and COST.fullmatch(fields[3]) for _, fields in lines
        )
    arcs, finals = [], {}
    for number, fields in lines:
        place = f"{where}:{number}"
        states = 1 if len(fields) <= 2 else 2
        labels = 0 if states == 1 else 1 if acceptor else 2
        if not states + labels <= len(fields) <= states + labels + 1:
            kind = "an acceptor" if acceptor else "a transducer"
            form = "source target label [cost]" if acceptor else "source target input output [cost]"
            count = len(fields) if len(fields) < 7 else "more than 6"
            raise ValueError(f"{place}: {count} fields; {kind} has lines `{form}` and `state [cost]`")
        source, target = (_state(field, place) for field in (fields[0], fields[states - 1]))
        cost = fields[states + labels] if len(fields) > states + labels else "0"
        if not labels and cost.lower() in ("inf", "infinity"):  # fstprint says so of a state with nothing to print
            continue
        cost = _cost(cost, place)
        if labels:
            arcs.append(FstArc(source, target, fields[2], fields[1 + labels], cost, place))
        else:
            finals[source] = cost
    return Fst(_state(lines[0][1][0], f"{where}:{lines[0][0]}"), tuple(arcs), finals)


def _state(field: str, place: str) -> int:
    if not re.fullmatch(r"\d{1,18}", field, re.ASCII):
        raise ValueError(f"{place}: {_shown(field)} is no state number")
    return int(field)


def _cost(field: str, place: str) -> float:
    try:
        value = float(field)
    except ValueError:
        raise ValueError(f"{place}: {_shown(field)} is no cost") from None
    return _finite(value, place)


def _finite(cost: float, place: str) -> float:
    if not math.isfinite(cost) or abs(cost) > 1e30:
        raise ValueError(f"{place}: a cost of {cost}: it must be a finite number")
    return cost


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


class _Bytes:
    """Little-endian values, one after the other; ValueError where the file ends too early."""

    def __init__(self, data: bytes, where: str):
        self.data, self.where, self.at = data, where, 0

    def read(self, form: str) -> tuple:
        form = "<" + form
        size = struct.calcsize(form)
        if self.at + size > len(self.data):
            raise ValueError(f"{self.where}: ends at byte {len(self.data)}, in the middle of the FST")
        values = struct.unpack_from(form, self.data, self.at)
        self.at += size
        return values

    def string(self) -> str:
        (size,) = self.read("i")
        if not 0 <= size <= len(self.data) - self.at:
            raise ValueError(f"{self.where}: a string of {size} bytes at byte {self.at}, which the file does not hold")
        self.at += size
        try:
            return self.data[self.at - size : self.at].decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{self.where}: a string at byte {self.at - size} that is not UTF-8") from None

    def align(self) -> None:
        self.at += -self.at % 16

    def count(self, number: int, size: int, what: str) -> int:
        """`number` again if that many things of `size` bytes can follow."""
        if not 0 <= number <= (len(self.data) - self.at) // size:
            raise ValueError(f"{self.where}: claims {number} {what}, which its {len(self.data)} bytes do not hold")
        return number


def is_binary_fst(data: bytes) -> bool:
    return data[:4] == struct.pack("<i", FST_MAGIC)


def read_fst_binary(data: bytes, where: str) -> Fst:
    """An FST from OpenFst's binary format, with the symbol tables that are kept in it; ValueError as read_fst_text."""
    source = _Bytes(data, where)
    source.read("i")
    kind, arc_kind = source.string(), source.string()
    if kind not in ("vector", "const") or arc_kind not in ("standard", "log"):
        raise ValueError(
            f"{where}: an FST of type {_shown(kind)} with arcs {_shown(arc_kind)}: convert it by "
            "fstconvert --fst_type=vector, with standard arcs"
        )
    _, flags, _, start, num_states, num_arcs = source.read("iiQqqq")
    tables = [_binary_symbols(source) if flags & flag else None for flag in (HAS_INPUT_SYMBOLS, HAS_OUTPUT_SYMBOLS)]
    if start == NO_STATE or num_states == 0:
        raise ValueError(f"{where}: an FST without a start state: it accepts nothing")
    read = _vector_states if kind == "vector" else _const_states
    states = read(source, num_states, num_arcs, bool(flags & IS_ALIGNED))
    arcs, finals = [], {}
    for state, (final, leaving) in enumerate(states):
        place = f"{where}: state {state}"
        if final != math.inf:  # what is not final costs infinity
            finals[state] = _finite(final, place)
        for input, output, cost, target in leaving:
            if not 0 <= target < len(states) or input < 0 or output < 0:
                raise ValueError(f"{place}: an arc {input}:{output} to state {target}, of {len(states)} states")
            arcs.append(FstArc(state, target, str(input), str(output), _finite(cost, place), place))
    if not 0 <= start < len(states):
        raise ValueError(f"{where}: starts at state {start}, of {len(states)} states")
    return Fst(start, tuple(arcs), finals, *tables)


def _binary_symbols(source: _Bytes) -> dict[int, str]:
    (magic,) = source.read("i")
    if magic != SYMBOLS_MAGIC:
        raise ValueError(f"{source.where}: no symbol table at byte {source.at - 4}, where one is announced")
    source.string()
    _, size = source.read("qq")
    symbols = {}
    for _ in range(source.count(size, 12, "symbols")):
        symbol = source.string()
        symbols[source.read("q")[0]] = symbol
    return symbols


States = Sequence[tuple[float, list[tuple[int, int, float, int]]]]  # (final cost, arcs) of every state


def _vector_states(source: _Bytes, num_states: int, num_arcs: int, aligned: bool) -> States:
    states = []
    if num_states != NO_STATE:  # unknown when the file was written as a stream: up to its end
        source.count(num_states, 12, "states")
    total = 0
    while len(states) < num_states or num_states == NO_STATE and source.at < len(source.data):
        final, count = source.read("fq")
        total += source.count(count, 16, "arcs")
        _check_size(total, source.where)
        states.append((final, [source.read("iifi") for _ in range(count)]))
    return states


def _const_states(source: _Bytes, num_states: int, num_arcs: int, aligned: bool) -> States:
    if aligned:
        source.align()
    heads = [source.read("fIIII") for _ in range(source.count(num_states, 20, "states"))]
    if aligned:
        source.align()
    _check_size(source.count(num_arcs, 16, "arcs"), source.where)
    arcs = [source.read("iifi") for _ in range(num_arcs)]
    first = 0
    states = []
    for state, (final, position, count, _, _) in enumerate(heads):
        if position != first or position + count > num_arcs:
            raise ValueError(
                f"{source.where}: state {state} has arcs {position} to {position + count} of {num_arcs}: "
                f"they should begin at {first}"
            )
        states.append((final, arcs[position : position + count]))
        first = position + count
    return states


def _check_size(num_arcs: int, where: str) -> None:
    if num_arcs > MAX_ARCS:
        raise ValueError(f"{where}: more than {MAX_ARCS} arcs: too large for an exact grammar, an n-gram LM may do")
