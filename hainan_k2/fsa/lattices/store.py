"""Lattices in files: with all attributes for this package and for k2, and as archives for other tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hainan_k2.files.atomic import atomic_file
from hainan_k2.files.container import SUFFIX, Kind, read_container, write_container
from hainan_k2.files.pickle_machine import Ragged
from hainan_k2.fsa.checks import check_lattice
from hainan_k2.fsa.fsavec import ragged_arcs
from hainan_k2.fsa.k2 import Fsa, load_k2
from hainan_k2.fsa.k2_file import SUFFIX as K2_SUFFIX
from hainan_k2.fsa.k2_file import num_rows, ragged_tensor, read_k2, write_k2
from hainan_k2.fsa.lattices.archive import archive
from hainan_k2.fsa.lattices.text_archive import read_text_archive

KIND = Kind("k2 lattice", "hainan_k2.save_lattice")
ATTRIBUTE = "attribute "


def save_lattice(
    lattice: Fsa, path: str | Path, names: Sequence[str] | None = None, frame_lens: Tensor | None = None
) -> None:
    """Write an FsaVec to a file, in the form that its name ends with:

        .safetensors      scores and attributes, such as `frame` and `duration`, bit for bit, with a checksum
        .pt               for k2: `k2.Fsa.from_dict(torch.load(path))`, whose attribute `names` are the names
        .ark, .ark.txt    archive of CompactLattice for Kaldi, binary and text (hainan_k2.fsa.lattices.archive)
        .fst.ark          archive of FSTs for Kaldi and OpenFst, binary
        any other         the same as text: for every FSA a line with its name, lines `source target label aux_label
                          cost` of its arcs, lines of its final states, and an empty line

    Costs are negative scores. Archives hold outputs (aux_labels, else labels), also ragged ones, and no other
    attributes.

    Args:
      lattice: FsaVec of B.
      names: names of the B FSAs, without spaces; None for 0, 1 ...
      frame_lens: (B,) number of frames of every utterance, for CompactLattice, as for lattice_times.
    Raises:
      ValueError: for a single FSA, for one that is not topologically sorted, for ragged attributes in .safetensors, for
        a CompactLattice without `frame` and `duration`, and for names that do not fit.

    >>> save_lattice(lattice, "lattices.safetensors", ["utt1", "utt2"])
    >>> lattice, names = load_lattice("lattices.safetensors")
    """
    names = [str(i) for i in range(lattice.shape[0])] if names is None else list(names)
    with LatticeWriter(path) as writer:
        writer.write(lattice, names, frame_lens)


class LatticeWriter:
    """`save_lattice` batch by batch, as a context manager: archives are written as the batches come, .safetensors and
    .pt at the end. The file exists if the context ends without an exception.

    >>> with LatticeWriter("lattices.ark") as writer:
    ...     writer.write(lattice, ["utt1", "utt2"], frame_lens)
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        name = self.path.name
        self.binary = name.endswith(".ark")
        self.compact = name.endswith((".ark", ".ark.txt")) and not name.endswith(".fst.ark")
        self.is_archive = self.path.suffix not in (SUFFIX, K2_SUFFIX)
        self.lattices: list[Fsa] = []
        self.names: list[str] = []

    def write(self, lattice: Fsa, names: Sequence[str], frame_lens: Tensor | None = None) -> None:
        """Add the B lattices of an FsaVec. Raises ValueError as save_lattice."""
        check_lattice(lattice)
        if len(names) != lattice.shape[0] or any(len(name.split()) != 1 for name in names):
            raise ValueError(f"{lattice.shape[0]} lattices need as many names without spaces, not {names[:10]}")
        if self.is_archive:
            self.stream.writelines(archive(lattice, names, self.compact, self.binary, frame_lens))
        else:
            self.lattices.append(lattice.to("cpu"))
            self.names += names

    def __enter__(self) -> LatticeWriter:
        self.open = ExitStack()
        if self.is_archive:
            self.stream = self.open.enter_context(atomic_file(self.path))
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        if self.lattices and kind is None:
            whole = self.lattices[0] if len(self.lattices) == 1 else load_k2().cat(self.lattices)
            if self.path.suffix == K2_SUFFIX:
                write_k2(self.path, whole, {"names": " ".join(self.names)})
            else:
                _save_tensors(whole, self.path, self.names)
        self.open.__exit__(kind, *error)


def _save_tensors(lattice: Fsa, path: str | Path, names: Sequence[str]) -> None:
    attributes = dict(lattice.named_tensor_attr(include_scores=False))
    for name, value in attributes.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"the lattice's attribute {name} is ragged: only one value per arc can be saved")
    shape = lattice.arcs.shape()
    tensors = {
        "num_states": shape.row_splits(1).diff(),
        "leaving": shape.row_splits(2).diff(),
        "target": lattice.arcs.values()[:, 1].clone(),
        "label": lattice.labels,
        "scores": lattice.scores,
        **{ATTRIBUTE + name: value for name, value in attributes.items() if name != "labels"},
    }
    fillers = {name: getattr(lattice, f"{name}_filler") for name in attributes if hasattr(lattice, f"{name}_filler")}
    write_container(path, KIND, tensors, {"names": names, "fillers": fillers})


def load_lattice(path: str | Path) -> tuple[Fsa, list[str]]:
    """Read a .safetensors, .pt or text file of save_lattice: the FsaVec, on the CPU, and the names of its FSAs.

    OpenFst text gives labels, scores and, for transducers, aux_labels; the first state of every FSA is its start. A .pt
    file may be of any program; its FSAs must be topologically sorted.

    Raises:
      ValueError: with the path and the reason, in one line.
    """
    path = Path(path)
    if path.suffix == SUFFIX:
        return _load_tensors(path)
    if path.suffix == K2_SUFFIX:
        return _load_k2(path)
    if path.suffix == ".ark" or path.name.endswith(".ark.txt"):
        raise ValueError(
            f"{path}: archives for Kaldi are only written: lattices are read from {SUFFIX} and {K2_SUFFIX}"
        )
    names, num_states, (leaving, target, label, scores, aux) = read_text_archive(path)
    attributes = {} if torch.equal(aux, label) else {"aux_labels": aux}
    return _build(path, num_states, leaving, target, label, scores, attributes), names


def _load_k2(path: Path) -> tuple[Fsa, list[str]]:
    file = read_k2(path)
    names = str(file.facts.get("names", "")).split() or [str(i) for i in range(len(file.num_states))]
    if len(names) != len(file.num_states):
        raise ValueError(f"{path} has {len(names)} names for {len(file.num_states)} lattices")
    target, label = file.arcs[:, 1].clone(), file.arcs[:, 2].clone()
    lattice = _build(path, file.num_states, file.leaving, target, label, file.scores.clone(), file.attributes)
    for name, value in file.facts.items():
        if name.endswith("_filler") and name[: -len("_filler")] in file.attributes:
            setattr(lattice, name, value)
    return lattice, names


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
    attributes: Mapping[str, Tensor | Ragged],
) -> Fsa:
    """The FsaVec with these attributes; ValueError where k2 would abort."""
    k2 = load_k2()
    num_arcs = len(target)
    negative = any(len(x) and int(x.min()) < 0 for x in (num_states, leaving, target))
    sizes = {len(label), len(scores), *map(num_rows, attributes.values())}
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
        setattr(lattice, name, ragged_tensor(value) if isinstance(value, Ragged) else value)
    return lattice
