"""Lattices in files: .safetensors, with all that is on them, and OpenFst text, for other tools."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from operator import itemgetter
from pathlib import Path
from typing import Any, Optional, Union

import torch
from torch import Tensor

from hainan_k2.files.atomic import write_atomic
from hainan_k2.files.container import SUFFIX, Kind, read_container, write_container
from hainan_k2.fsa.checks import check_lattice
from hainan_k2.fsa.fsavec import arc_owner, ragged_arcs
from hainan_k2.fsa.k2 import load_k2
from hainan_k2.fsa.language.openfst import Fst, read_fst_text

KIND = Kind("k2 lattice", "hainan_k2.save_lattice")
ATTRIBUTE = "attribute "


def save_lattice(lattice, path: Union[str, Path], names: Optional[Sequence[str]] = None) -> None:
    """Write an FsaVec of B.

    A path that ends in .safetensors keeps scores and attributes, such as `frame` and `duration`, to the last bit. Any
    other is OpenFst text as in Kaldi's archives: for every FSA a line with its name, its arcs `source target label
    aux_label cost`, its final states and an empty line; without aux_labels, the label stands there twice. Costs are
    negative scores; the times are lost there.

    Args:
      names: of the B FSAs; default: 0, 1 ...
    Raises:
      ValueError: for a single FSA, one that is not topologically sorted, an attribute that is not one value per arc, or
        names that do not fit.
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


def _archive(lattice, aux_labels: Optional[Tensor], names: Sequence[str]) -> Iterator[str]:
    lists = [arc_owner(lattice).tolist(), *lattice.arcs.values()[:, :3].T.tolist(), lattice.scores.tolist()]
    lists.append((lattice.labels if aux_labels is None else aux_labels).tolist())  # Kaldi reads no acceptors
    lines: list[list[str]] = [[] for _ in names]
    for owner, source, target, label, score, aux in zip(*lists):
        cost = f"{0.0 - score:.9g}"
        if score == -torch.inf:  # never taken; OpenFst would have the word Infinity
            continue
        if label == -1:
            lines[owner].append(f"{source} {cost}\n")
        else:
            lines[owner].append(f"{source} {target} {label} {aux} {cost}\n")
    for name, own in zip(names, lines):
        yield "".join([f"{name}\n", *own, "\n"])


def load_lattice(path: Union[str, Path]) -> tuple[Any, list[str]]:
    """The FsaVec of a file of save_lattice, on the CPU, and the names of its FSAs.

    From OpenFst text come labels, scores and, of transducers, aux_labels; the first state of every FSA is its start.

    Raises:
      ValueError: one line that names the file and what is wrong with it.
    """
    path = Path(path)
    if path.suffix in (SUFFIX, ".pt"):  # read_container says how to make the latter anew
        return _load_tensors(path)
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    names, parts, start = [], [], 0
    lines = text.splitlines()
    for end in [i for i, line in enumerate(lines) if not line.strip()] + [len(lines)]:
        if start < end:
            name, *own = lines[start:end]
            if len(name.split()) != 1:
                raise ValueError(f"{path}:{start + 1}: the name of an FSA should stand here, not {name[:40]!r}")
            names.append(name.strip())
            parts.append(_parse("\n" * (start + 1) + "\n".join(own), str(path)) if own else _EMPTY)
        start = end + 1
    if not parts:
        raise ValueError(f"{path} holds no lattice")
    num_states = torch.tensor([len(part[0]) for part in parts])
    leaving, target, label, scores, aux = (torch.cat(column) for column in zip(*parts))
    attributes = {} if torch.equal(aux, label) else {"aux_labels": aux}
    return _build(path, num_states, leaving, target, label, scores, attributes), names


_EMPTY = tuple(
    torch.zeros(0, dtype=kind) for kind in (torch.int64, torch.int32, torch.int32, torch.float32, torch.int32)
)  # as of _parse


def _parse(text: str, where: str) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Of one FST: arcs that leave every state, and target, label, score and output of every arc."""
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
    source, target, label, score, output = zip(*rows)
    leaving = torch.bincount(torch.tensor(source), minlength=end + 1)
    target, label, output = (torch.tensor(column, dtype=torch.int32) for column in (target, label, output))
    return leaving, target, label, torch.tensor(score, dtype=torch.float32), output


def _sorted_states(fst: Fst, where: str) -> dict[int, int]:
    """{state: its place in a topological order, the start first, else as they are numbered}.

    ValueError on a cycle, and without final state.
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


def _load_tensors(path: Path) -> tuple[Any, list[str]]:
    tensors, facts = read_container(path, KIND)
    names, fillers = facts.get("names"), facts.get("fillers")
    parts = [tensors.get(name) for name in ("num_states", "leaving", "target", "label", "scores")]
    attributes = {name[len(ATTRIBUTE) :]: value for name, value in tensors.items() if name.startswith(ATTRIBUTE)}
    if any(part is None or part.dim() != 1 for part in [*parts, *attributes.values()]):
        raise ValueError(f"{path} is not complete")
    kinds = [part.dtype for part in parts[2:]]
    whole = all(isinstance(name, str) for name in names) if isinstance(names, list) else False
    if kinds != [torch.int32, torch.int32, torch.float32] or not whole or len(names) != len(parts[0]):
        raise ValueError(f"{path} holds no lattice: its tensors are of other types than save_lattice writes")
    if not isinstance(fillers, dict) or not all(isinstance(f, (int, float)) for f in fillers.values()):
        raise ValueError(f"{path} has fillers that are no numbers")
    lattice = _build(path, parts[0].long(), parts[1].long(), *parts[2:], attributes)
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
):
    """The FsaVec; ValueError where k2 would abort."""
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
        "a score that is no number": scores.isnan().any(),
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
