"""What `--graph` names: a word graph spelled in tokens, LG, alone or composed with the TDT topology, in a file.

LG fits every model of its tokens; composing it with the topology of a model's durations takes a while where it is
large, so `hainan-compile-graph --durations` can do that beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Union

import torch
from torch import Tensor

from hainan_k2.files.container import Kind, read_container, write_container
from hainan_k2.fsa.k2 import load_k2
from hainan_k2.fsa.lattices.topology import compile_tdt_graph

KIND = Kind("decoding graph", "hainan-compile-graph")


@dataclass(frozen=True, eq=False)
class DecodingGraph:
    """arcs (A, 4) int32 as k2 has them (source, target, label, bits of the float32 score), aux_labels (A,) int32 word
    ids; words and pieces: the symbol tables, index = id. durations: None for LG, whose labels are tokens; otherwise
    labels are columns of hainan_k2.fsa.lattices.topology's dense matrix."""

    arcs: Tensor
    aux_labels: Tensor
    words: tuple[str, ...]
    pieces: tuple[str, ...]
    durations: Optional[tuple[int, ...]] = None
    _made: dict[Any, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls, fsa, words: Sequence[str], pieces: Sequence[str], durations: Optional[Sequence[int]] = None
    ) -> DecodingGraph:
        """From a k2.Fsa: of spell_out, or of compile_tdt_graph with these durations."""
        state = fsa.as_dict()
        durations = None if durations is None else tuple(durations)
        return cls(state["arcs"].cpu(), state["aux_labels"].cpu(), tuple(words), tuple(pieces), durations)

    def fsa(self):
        """The graph as a k2.Fsa."""
        k2 = load_k2()
        return k2.Fsa(self.arcs.clone(), self.aux_labels)  # a clone: k2 keeps scores in the arcs it is given

    def search_graph(self, durations: Sequence[int], scale: float = 1.0, device: Union[str, torch.device] = "cpu"):
        """The k2.Fsa that intersect_tdt wants: composed with the topology, its scores times `scale`. The last one made
        is remembered. ValueError if it has been composed for other durations."""
        durations, device = tuple(durations), torch.device(device)
        if self.durations not in (None, durations):
            raise ValueError(
                f"the graph is for durations {self.durations}, the model has {durations}: compile it for "
                "those, by `hainan-compile-graph --durations`"
            )
        if (durations, scale, device) not in self._made:
            self._made.clear()
            fsa = self.fsa()
            if self.durations is None:
                fsa = compile_tdt_graph(fsa, len(self.pieces), durations)
            fsa.scores = scale * fsa.scores
            self._made[durations, scale, device] = fsa.to(device)
        return self._made[durations, scale, device]

    def save(self, path: Union[str, Path]) -> None:
        """Write a .safetensors file for `read`."""
        write_container(
            path,
            KIND,
            {"arcs": self.arcs, "aux_labels": self.aux_labels},
            {"words": self.words, "pieces": self.pieces, "durations": self.durations},
        )

    @classmethod
    def read(cls, path: Union[str, Path], pieces: Sequence[str]) -> DecodingGraph:
        """The graph of a file, for a model of these pieces.

        Raises:
          ValueError: if the file is damaged, or its graph is of other pieces or not one that k2 can search.
        """
        tensors, facts = read_container(path, KIND)
        try:
            durations = facts["durations"] if facts["durations"] is None else tuple(map(int, facts["durations"]))
            words, names = tuple(facts["words"]), tuple(facts["pieces"])
            graph = cls(tensors["arcs"], tensors["aux_labels"], words, names, durations)
        except (LookupError, TypeError, ValueError):
            raise ValueError(f"{path} is not complete: make it with `hainan-compile-graph`") from None
        if graph.pieces != tuple(pieces):
            raise ValueError(
                f"{path} is spelled in {len(graph.pieces)} pieces that are not the {len(pieces)} of the "
                "model's tokenizer: compile it with the model's --lang-dir"
            )
        complaint = graph._complaint()
        if complaint:
            raise ValueError(f"{path}: {complaint}")
        return graph

    def _complaint(self) -> str:
        """Why k2 could not search this graph; empty if it can."""
        arcs, words = self.arcs, self.aux_labels
        fits = arcs.dim() == 2 and arcs.shape[1:] == (4,) and words.shape == arcs.shape[:1]
        if not fits or arcs.dtype != torch.int32 or words.dtype != torch.int32 or not len(arcs):
            return f"arcs {tuple(arcs.shape)}, aux_labels {tuple(words.shape)}: not (A, 4) and (A,) of int32, A > 0"
        source, target, label = arcs[:, :3].unbind(1)
        final, ending = int(target.max()), label == -1
        columns = len(self.pieces) + (0 if self.durations is None else len(self.durations) + 1)
        checks = {
            "sources descend or are negative": (source.diff() < 0).any() or source[0] != 0,
            "a target is negative": (target < 0).any(),
            "an arc leaves the final state": (source >= final).any(),
            "label -1 is not on the arcs into the final state, and only there": (ending != (target == final)).any(),
            f"labels are not below {columns}": (label < -1).any() or (label >= columns).any(),
            "there is an epsilon": self.durations is None and (label == 0).any(),
            "aux labels are no words": (words[~ending] < 0).any() or (words >= len(self.words)).any(),
            "a score is not finite": not arcs[:, 3].contiguous().view(torch.float32).isfinite().all(),
        }
        return next((complaint for complaint, wrong in checks.items() if wrong), "")
