"""k2's own files, such as icefall's L.pt, LG.pt and G.pt: `k2.Fsa.from_dict(torch.load(path))` loads them.

They hold a dict with `arcs` and an entry for every attribute. `arcs` is an (A, 4) int32 tensor of one FSA: source,
target, label, and the bits of the float32 score; for an FsaVec of B it is one-dimensional:

    B, 0, row splits of the states (B + 1,), row splits of the arcs (B + 1,), the arcs of all FSAs (4 A,)

They are read here without torch.load, which can execute what a file contains. A container of this package
(hainan_k2.files.container) also has a checksum, so that every changed byte is detected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

import torch
from torch import Tensor

from hainan_k2.files.atomic import atomic_file
from hainan_k2.files.pickle_machine import Ragged
from hainan_k2.files.torch_archive import read_torch_archive
from hainan_k2.fsa.k2 import Fsa, load_k2

SUFFIX = ".pt"


@dataclass(frozen=True)
class K2File:
    """The content of a file of k2, in tensors: B FSAs with S states and A arcs in all."""

    is_vec: bool  # whether the file has an FsaVec; else B is 1
    num_states: Tensor  # (B,) int64, the final state included
    leaving: Tensor  # (S,) int64, number of arcs that leave every state
    arcs: Tensor  # (A, 4) int32: source, target, label, and the bits of the float32 score
    attributes: dict[str, Union[Tensor, Ragged]]  # (A,), or A rows
    facts: dict[str, Union[int, float, str]]  # what is not one value per arc, e.g. `frame_filler`

    @property
    def scores(self) -> Tensor:
        """(A,) float32."""
        return self.arcs[:, 3].contiguous().view(torch.float32)


def write_k2(path: Union[str, Path], fsa: Fsa, facts: Optional[Mapping[str, Union[int, float, str]]] = None) -> None:
    """Write a k2.Fsa or FsaVec with its attributes, except those that are neither tensors, numbers nor texts.

    `facts` are further attributes of the Fsa that is loaded.

    >>> write_k2("L.pt", lexicon_fst(lexicon, vocab_size, disambiguate=False))
    >>> fsa = k2.Fsa.from_dict(torch.load("L.pt"))
    """
    k2 = load_k2()
    content = {**fsa.as_dict(), **(facts or {})}
    content.pop("labels_version", None)  # counts changes of a tensor in memory
    kept: dict[str, Any] = {name: value for name, value in content.items() if isinstance(value, (int, float, str))}
    for name, value in content.items():
        if isinstance(value, (Tensor, k2.RaggedTensor)):
            kept[name] = value.detach().cpu() if isinstance(value, Tensor) else value.to("cpu")
    with atomic_file(path) as stream:
        torch.save(kept, stream)


def read_k2(path: Union[str, Path]) -> K2File:
    """Read a file of `write_k2`, or of icefall. Needs no k2.

    Raises:
      ValueError: in one line with the path, where the file is missing, damaged, or holds no FSA that k2 can have.
    """
    content = read_torch_archive(path)
    if not isinstance(content, dict) or not isinstance(content.get("arcs"), Tensor):
        raise ValueError(f"{path} holds no k2.Fsa: it has no entry `arcs`")
    arcs, num_states, of_fsa = _arcs(content["arcs"], str(path))
    attributes: dict[str, Union[Tensor, Ragged]] = {}
    for name, value in content.items():
        if name == "arcs" or not isinstance(value, (Tensor, Ragged)):
            continue
        where = f"{path}: attribute {str(name)[:40]}"
        if isinstance(value, Ragged):
            _check_ragged(value, where)
        if num_rows(value) != len(arcs) or isinstance(value, Tensor) and value.dim() != 1:
            raise ValueError(f"{where} has {num_rows(value)} values for {len(arcs)} arcs")
        attributes[str(name)] = value
    facts = {str(name): value for name, value in content.items() if isinstance(value, (int, float, str))}
    first = num_states.cumsum(0) - num_states
    states = int(num_states.sum())
    leaving = torch.bincount(first[of_fsa] + arcs[:, 0].long(), minlength=states)
    return K2File(content["arcs"].dim() == 1, num_states, leaving, arcs, attributes, facts)


def num_rows(value: Union[Tensor, Ragged]) -> int:
    """How many arcs an attribute is for."""
    return len(value.row_splits[0]) - 1 if isinstance(value, Ragged) else value.numel()


def ragged_tensor(ragged: Ragged) -> Any:
    """A k2.RaggedTensor with the same rows, of a Ragged of two axes as `read_k2` gives it."""
    k2 = load_k2()
    (row_splits,) = ragged.row_splits
    shape = k2.ragged.create_ragged_shape2(row_splits=row_splits, cached_tot_size=len(ragged.values))
    return k2.RaggedTensor(shape, ragged.values)


def _arcs(stored: Tensor, where: str) -> tuple[Tensor, Tensor, Tensor]:
    """The arcs (A, 4), the number of states of each FSA (B,), and the FSA of each arc (A,) of the entry `arcs`."""
    if stored.dtype != torch.int32:
        raise ValueError(f"{where}: its arcs are {stored.dtype}, not int32")
    if stored.dim() == 2 and stored.shape[1] == 4:
        arcs, of_fsa = stored.contiguous(), torch.zeros(len(stored), dtype=torch.int64)
        num_states = torch.tensor([int(arcs[:, 1].max()) + 1 if len(arcs) else 0])
        if int(num_states) > 4 * len(arcs):
            raise ValueError(f"{where}: {len(arcs)} arcs cannot connect {int(num_states)} states")
    elif stored.dim() == 1 and len(stored) >= 4 and 0 <= int(stored[0]) <= (len(stored) - 4) // 2:
        batch = int(stored[0])
        states, ends = stored[2 : 3 + batch].long(), stored[3 + batch : 4 + 2 * batch].long()
        rows = stored[4 + 2 * batch :]
        fits = len(rows) == 4 * int(ends[-1]) and int(ends[0]) == int(states[0]) == 0
        if not fits or (states.diff() < 0).any() or (ends.diff() < 0).any() or int(states[-1]) > len(rows) + batch:
            raise ValueError(f"{where}: {len(rows)} values are not the arcs of {batch} FSAs")
        arcs, num_states = rows.view(-1, 4).contiguous(), states.diff()
        of_fsa = torch.repeat_interleave(ends.diff())
    else:
        raise ValueError(f"{where}: its arcs have the shape {tuple(stored.shape)}, which no k2.Fsa has")
    source, target, label = arcs[:, :3].long().unbind(1)
    last = num_states[of_fsa] - 1
    same = of_fsa.diff() == 0
    problems = {
        "an arc from or to a state that does not exist": (source < 0) | (target < 0) | (target > last),
        "an arc that leaves a final state": source >= last,
        "label -1 elsewhere than on the arcs into a final state": ((label == -1) != (target == last)) | (label < -1),
        "a score that is not a number": arcs[:, 3].contiguous().view(torch.float32).isnan(),
        "sources that are not in order": (source.diff() < 0) & same,
    }
    for problem, at in problems.items():
        if at.any():
            raise ValueError(f"{where} holds {problem}")
    return arcs, num_states, of_fsa


def _check_ragged(ragged: Ragged, where: str) -> None:
    """ValueError unless it has two axes, int32 values, and row splits that fit them."""
    splits = ragged.row_splits[0] if len(ragged.row_splits) == 1 else torch.empty(0, dtype=torch.int32)
    ordered = splits.dtype == torch.int32 and len(splits) and not int(splits[0]) and not (splits.diff() < 0).any()
    if not ordered or int(splits[-1]) != len(ragged.values):
        raise ValueError(f"{where} is ragged, and its rows are not lists of its {len(ragged.values)} values")
    if ragged.values.dtype != torch.int32:
        raise ValueError(f"{where} is ragged and of {ragged.values.dtype}, not int32")
