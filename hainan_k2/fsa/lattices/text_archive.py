"""Archives of FSTs in OpenFst text, as Kaldi has them, read into the arcs of lattices.

An entry is a line with a name, lines `source target label aux_label cost` of arcs, lines `state cost` of final states,
and an empty line.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from heapq import heapify, heappop, heappush
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from hainan_k2.fsa.language.openfst import Fst, read_fst_text


class TextArcs(NamedTuple):
    """The arcs of one or more FSAs in the order of their source states."""

    leaving: Tensor  # (S,) int64, number of arcs that leave every state
    target: Tensor  # (A,) int32
    label: Tensor  # (A,) int32
    score: Tensor  # (A,) float32
    aux_label: Tensor  # (A,) int32


_NO_ARCS = TextArcs(
    torch.zeros(0, dtype=torch.int64),
    torch.zeros(0, dtype=torch.int32),
    torch.zeros(0, dtype=torch.int32),
    torch.zeros(0),
    torch.zeros(0, dtype=torch.int32),
)


def read_text_archive(path: Path) -> tuple[list[str], Tensor, TextArcs]:
    """The names (B) of an archive, the number of states of every FST (B,), with its final state, and the arcs of all.

    States are in topological order. Raises ValueError, in one line with the path, for what is not such an archive.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    names: list[str] = []
    parts: list[TextArcs] = []
    start = 0
    lines = text.splitlines()
    for end in [i for i, line in enumerate(lines) if not line.strip()] + [len(lines)]:
        if start < end:
            name, *arcs = lines[start:end]
            if len(name.split()) != 1:
                raise ValueError(f"{path}:{start + 1}: the name of an FSA should stand here, not {name[:40]!r}")
            names.append(name.strip())
            parts.append(_parse("\n" * (start + 1) + "\n".join(arcs), str(path)) if arcs else _NO_ARCS)
        start = end + 1
    if not parts:
        raise ValueError(f"{path} holds no lattice")
    num_states = torch.tensor([len(part.leaving) for part in parts])
    return names, num_states, TextArcs(*(torch.cat(column) for column in zip(*parts)))


def _parse(text: str, where: str) -> TextArcs:
    """The arcs of one FST in OpenFst text; `where` names the file in errors."""
    fst = read_fst_text(text, where)
    number = _sorted_states(fst, where)
    end = len(number)
    rows = []
    for arc in fst.arcs:
        if not (arc.input.isdecimal() and arc.output.isdecimal() and max(len(arc.input), len(arc.output)) < 10):
            raise ValueError(f"{arc.place}: labels {arc.input[:20]} {arc.output[:20]} of a lattice are numbers")
        rows.append((number[arc.source], number[arc.target], int(arc.input), -arc.cost, int(arc.output)))
    rows += [(number[state], end, -1, -cost, -1) for state, cost in fst.finals.items()]
    rows.sort(key=itemgetter(0))
    source, target, label, score, aux_label = zip(*rows)
    return TextArcs(
        torch.bincount(torch.tensor(source), minlength=end + 1),
        torch.tensor(target, dtype=torch.int32),
        torch.tensor(label, dtype=torch.int32),
        torch.tensor(score, dtype=torch.float32),
        torch.tensor(aux_label, dtype=torch.int32),
    )


def _sorted_states(fst: Fst, where: str) -> dict[int, int]:
    """The new number of every state, in topological order: the start first, otherwise by their old numbers.

    ValueError for a cycle, and if there is no final state.
    """
    if not fst.finals:
        raise ValueError(f"{where}: a lattice without a final state")
    leaving: dict[int, list[int]] = defaultdict(list)
    entering = Counter(arc.target for arc in fst.arcs)
    for arc in fst.arcs:
        leaving[arc.source].append(arc.target)
    states = {fst.start, *leaving, *entering, *fst.finals}
    waiting = [(state != fst.start, state) for state in states if not entering[state]]
    number: dict[int, int] = {}
    heapify(waiting)
    while waiting:
        _, state = heappop(waiting)
        number[state] = len(number)
        for target in leaving[state]:
            entering[target] -= 1
            if not entering[target]:
                heappush(waiting, (True, target))
    if len(number) < len(states) or number[fst.start]:
        raise ValueError(f"{where}: state {min((states - set(number)) or [fst.start])} is on a cycle or behind one")
    return number
