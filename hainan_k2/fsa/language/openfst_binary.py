"""OpenFst's binary files, read in Python, so that a broken one is a ValueError and no crash.

Read are FSTs of type vector or const over standard or log arcs, as fstcompile writes them, with the symbol tables that
are kept in them.
"""

from __future__ import annotations

import math
import struct
from typing import Any

from hainan_k2.fsa.language.automaton import MAX_ARCS
from hainan_k2.fsa.language.openfst import Fst, FstArc, finite, shown

FST_MAGIC, SYMBOLS_MAGIC = 2125659606, 2125658996
HAS_INPUT_SYMBOLS, HAS_OUTPUT_SYMBOLS, IS_ALIGNED = 1, 2, 4
NO_STATE = -1


class _Bytes:
    """Reads little-endian values one after the other; ValueError if the file ends too early."""

    def __init__(self, data: bytes, where: str):
        self.data, self.where, self.at = data, where, 0

    def read(self, form: str) -> tuple[Any, ...]:
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
        """`number`, if that many items of `size` bytes can follow; else ValueError."""
        if not 0 <= number <= (len(self.data) - self.at) // size:
            raise ValueError(f"{self.where}: should hold {number} {what}, which its {len(self.data)} bytes cannot")
        return number


def is_binary_fst(data: bytes) -> bool:
    """Whether the data begin as an OpenFst binary does."""
    return data[:4] == struct.pack("<i", FST_MAGIC)


def read_fst_binary(data: bytes, where: str) -> Fst:
    """The FST of an OpenFst binary, with the symbol tables in it.

    Raises:
      ValueError: "WHERE: ..." on other types of FSTs, on data that contradict each other or end early, on costs that
        are no finite numbers, and on more than MAX_ARCS arcs.
    """
    source = _Bytes(data, where)
    source.read("i")
    kind, arc_kind = source.string(), source.string()
    if kind not in ("vector", "const") or arc_kind not in ("standard", "log"):
        raise ValueError(
            f"{where}: an FST of type {shown(kind)} with arcs {shown(arc_kind)}: convert it by "
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
            finals[state] = finite(final, place)
        for input, output, cost, target in leaving:
            if not 0 <= target < len(states) or input < 0 or output < 0:
                raise ValueError(f"{place}: an arc {input}:{output} to state {target}, of {len(states)} states")
            arcs.append(FstArc(state, target, str(input), str(output), finite(cost, place), place))
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


State = tuple[float, list[Any]]  # final cost, and arcs: input, output, cost, target


def _vector_states(source: _Bytes, num_states: int, num_arcs: int, aligned: bool) -> list[State]:
    states: list[State] = []
    if num_states != NO_STATE:  # unknown when the file was written as a stream: up to its end
        source.count(num_states, 12, "states")
    total = 0
    while len(states) < num_states or num_states == NO_STATE and source.at < len(source.data):
        final, count = source.read("fq")
        total += source.count(count, 16, "arcs")
        _check_size(total, source.where)
        states.append((final, [source.read("iifi") for _ in range(count)]))
    return states


def _const_states(source: _Bytes, num_states: int, num_arcs: int, aligned: bool) -> list[State]:
    if aligned:
        source.align()
    heads = [source.read("fIIII") for _ in range(source.count(num_states, 20, "states"))]
    if aligned:
        source.align()
    _check_size(source.count(num_arcs, 16, "arcs"), source.where)
    arcs = [source.read("iifi") for _ in range(num_arcs)]
    first = 0
    states: list[State] = []
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
