"""Lattices in files: .safetensors, with all attributes, and OpenFst text for other tools."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from hainan_k2.files.atomic import write_atomic
from hainan_k2.files.container import SUFFIX, Kind, read_container, write_container
from hainan_k2.fsa.checks import check_lattice
from hainan_k2.fsa.fsavec import arc_owner, ragged_arcs
from hainan_k2.fsa.k2 import Fsa, load_k2
from hainan_k2.fsa.language.openfst import Fst, read_fst_text

KIND = Kind("k2 lattice", "hainan_k2.save_lattice")
ATTRIBUTE = "attribute "


def save_lattice(lattice: Fsa, path: str | Path, names: Sequence[str] | None = None) -> None:
    """Write an FsaVec to a file.

    A .safetensors file keeps scores and attributes, such as `frame` and `duration`, bit for bit. Any other suffix gives
    OpenFst text as in Kaldi's archives: for every FSA a line with its name, lines `source target label aux_label cost`
    of its arcs, lines of its final states, and an empty line. Costs are negative scores. Without aux_labels the label
    is written twice. Other attributes are not written.

    Args:
      lattice: FsaVec of B.
      names: names of the B FSAs, without spaces; None for 0, 1 ...
    Raises:
      ValueError: for a single FSA, for one that is not topologically sorted, for ragged attributes, and for names that
        do not fit.

    >>> save_lattice(lattice, "lattices.safetensors", ["utt1", "utt2"])
    >>> lattice, names = load_lattice("lattices.safetensors")
    """
    check_lattice(lattice)
    target = lattice.arcs.values()[:, 1]
    names = [str(i) for i in range(lattice.shape[0])] if names is None else list(names)
    if len(names) != lattice.shape[0] or any(len(name.split()) != 1 for name in names):
        raise ValueError(f"{lattice.shape[0]} lattices need as many names without spaces, not {names[:10]}")
    attributes = dict(lattice.named_tensor_attr(include_scores=False))
    for name, value in attributes.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"the lattice's attribute {name} is ragged: only one value per arc can be saved")
    if Path(path).suffix == ".pt":
        raise ValueError(f"{path}: .pt files are torch's: save a lattice as {SUFFIX} or, as OpenFst text, as .txt")
    if Path(path).suffix != SUFFIX:
        write_atomic(path, "".join(_archive(lattice, attributes.get("aux_labels"), names)))
        return
    shape = lattice.arcs.shape()
    tensors = {
        "num_states": shape.row_splits(1).diff(),
        "leaving": shape.row_splits(2).diff(),
        "target": target.clone(),
        "label": lattice.labels,
        "scores": lattice.scores,
        **{ATTRIBUTE + name: value for name, value in attributes.items() if name != "labels"},
    }
    fillers = {name: getattr(lattice, f"{name}_filler") for name in attributes if hasattr(lattice, f"{name}_filler")}
    write_container(path, KIND, tensors, {"names": names, "fillers": fillers})


def _archive(lattice: Fsa, aux_labels: Tensor | None, names: Sequence[str]) -> Iterator[str]:
    """The OpenFst text of every FSA."""
    lists = [arc_owner(lattice).tolist(), *lattice.arcs.values()[:, :3].T.tolist(), lattice.scores.tolist()]
    lists.append((lattice.labels if aux_labels is None else aux_labels).tolist())  # Kaldi does not read acceptors
    lines: list[list[str]] = [[] for _ in names]
    for owner, source, target, label, score, aux in zip(*lists):
        cost = f"{0.0 - score:.9g}"
        if score == -torch.inf:  # never taken; its cost in OpenFst would be the word Infinity
            continue
        if label == -1:
            lines[owner].append(f"{source} {cost}\n")
        else:
            lines[owner].append(f"{source} {target} {label} {aux} {cost}\n")
    for name, arcs in zip(names, lines):
        yield "".join([f"{name}\n", *arcs, "\n"])


def load_lattice(path: str | Path) -> tuple[Fsa, list[str]]:
    """Read a file of save_lattice: the FsaVec, on the CPU, and the names of its FSAs.

    OpenFst text gives labels, scores and, for transducers, aux_labels; the first state of every FSA is its start.

    Raises:
      ValueError: with the path and the reason, in one line.
    """
    path = Path(path)
    if path.suffix in (SUFFIX, ".pt"):  # for .pt, the error of read_container tells how to make a new file
        return _load_tensors(path)
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    names: list[str] = []
    parts: list[_Arcs] = []
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
    leaving, target, label, scores, aux = (torch.cat(column) for column in zip(*parts))
    attributes = {} if torch.equal(aux, label) else {"aux_labels": aux}
    return _build(path, num_states, leaving, target, label, scores, attributes), names


class _Arcs(NamedTuple):
    """The arcs of one or more FSAs in the order of their source states."""

    leaving: Tensor  # (S,) int64, number of arcs that leave every state
    target: Tensor  # (A,) int32
    label: Tensor  # (A,) int32
    score: Tensor  # (A,) float32
    aux_label: Tensor  # (A,) int32


_NO_ARCS = _Arcs(
    torch.zeros(0, dtype=torch.int64),
    torch.zeros(0, dtype=torch.int32),
    torch.zeros(0, dtype=torch.int32),
    torch.zeros(0),
    torch.zeros(0, dtype=torch.int32),
)


def _parse(text: str, where: str) -> _Arcs:
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
    return _Arcs(
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


def _load_tensors(path: Path) -> tuple[Fsa, list[str]]:
    tensors, facts = read_container(path, KIND)
    names, fillers = facts.get("names"), facts.get("fillers")
    attributes = {name[len(ATTRIBUTE) :]: value for name, value in tensors.items() if name.startswith(ATTRIBUTE)}
    try:
        num_states, leaving, target, label, scores = (
            tensors[name] for name in ("num_states", "leaving", "target", "label", "scores")
        )
    except KeyError as error:
        raise ValueError(f"{path} is not complete: it has no tensor {error}") from None
    if any(x.dim() != 1 for x in (num_states, leaving, target, label, scores, *attributes.values())):
        raise ValueError(f"{path} holds no lattice: a tensor has more or less than one axis")
    dtypes = [x.dtype for x in (target, label, scores)]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path} holds no lattice: its names are not a list of texts")
    if dtypes != [torch.int32, torch.int32, torch.float32] or len(names) != len(num_states):
        raise ValueError(f"{path} holds no lattice: its tensors are of other types than save_lattice writes")
    if not isinstance(fillers, dict) or not all(isinstance(f, (int, float)) for f in fillers.values()):
        raise ValueError(f"{path} has fillers that are not numbers")
    lattice = _build(path, num_states.long(), leaving.long(), target, label, scores, attributes)
    for name, filler in fillers.items():
        if name in attributes:
            setattr(lattice, f"{name}_filler", filler)
    return lattice, names


def _build(
    path: Path,
    num_states: Tensor,
    leaving: Tensor,
    target: Tensor,
    label: Tensor,
    scores: Tensor,
    attributes: dict[str, Tensor],
) -> Fsa:
    """The FsaVec with these attributes; ValueError where k2 would abort."""
    k2 = load_k2()
    num_arcs = len(target)
    negative = any(len(x) and int(x.min()) < 0 for x in (num_states, leaving, target))
    sizes = {len(label), len(scores), *map(len, attributes.values())}
    if negative or sizes != {num_arcs} or int(num_states.sum()) != len(leaving) or int(leaving.sum()) != num_arcs:
        raise ValueError(f"{path} holds no lattice: {num_arcs} arcs and {len(leaving)} states do not fit each other")
    state = torch.repeat_interleave(leaving)
    first = num_states.cumsum(0) - num_states
    owner = torch.repeat_interleave(num_states)[state]
    source = state - first[owner]
    ends = (first + num_states - 1)[num_states > 0]
    problems = {
        "an FSA of a single state": (num_states == 1).any(),
        "arcs that leave a final state": (leaving[ends] > 0).any(),
        "an arc to a state that does not exist": (target >= num_states[owner]).any(),
        "arcs that do not lead to later states": (target <= source).any(),
        "label -1 elsewhere than on the arcs into a final state": (
            (label == -1) != (target == num_states[owner] - 1)
        ).any()
        or (label < -1).any(),
        "a score that is not a number": scores.isnan().any(),
    }
    for problem, present in problems.items():
        if present:
            raise ValueError(f"{path} holds {problem}")
    arcs = torch.stack([source.int(), target, label, torch.zeros_like(label)], dim=1)
    lattice = k2.Fsa(ragged_arcs(num_states, leaving, arcs))
    lattice.scores = scores
    for name, value in attributes.items():
        if not name.isidentifier() or name.startswith("_") or hasattr(lattice, name):
            raise ValueError(f"{path} holds an attribute named {name[:40]!r}, which no lattice can have")
        setattr(lattice, name, value)
    return lattice
