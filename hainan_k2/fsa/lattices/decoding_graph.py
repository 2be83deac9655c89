"""The decoding graph of `--graph` and its file: LG over tokens, alone or composed with the TDT topology.

LG is a lexicon composed with a word-level LM. It works with every model that has the same tokens. Its composition with
the topology of a model's durations takes a while for a large LG; `hainan-compile-graph --durations` does it beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Union

import torch
from torch import Tensor

from hainan_k2.files.container import Kind, read_container, write_container
from hainan_k2.fsa.k2 import Fsa, load_k2
from hainan_k2.fsa.k2_file import SUFFIX
from hainan_k2.fsa.language.output_words import graph_words, words_by_start
from hainan_k2.fsa.language.token_graph import TokenGraph
from hainan_k2.fsa.lattices.ctc_graph import compile_ctc_graph
from hainan_k2.fsa.lattices.icefall_graph import read_icefall_graph
from hainan_k2.fsa.lattices.topology import compile_tdt_graph
from hainan_k2.result import WORD_START

KIND = Kind("decoding graph", "hainan-compile-graph")


class _Composed:
    """A composition with a topology, to be searched with one weight after another."""

    def __init__(self, fsa: Fsa) -> None:
        self.fsa, self.scores = fsa, fsa.scores.clone()
        self.weights: Optional[tuple[float, float]] = None  # those that the fsa has

    def weighted(self, scale: float, token_bonus: float = 0.0) -> Fsa:
        """The graph with its scores times `scale`, also as lm_scores; the bonus is added where `tokens` has a token."""
        if self.weights != (scale, token_bonus):
            self.fsa.lm_scores = scale * self.scores
            bonus = token_bonus * (self.fsa.tokens > 0) if token_bonus else 0.0
            self.fsa.scores, self.weights = self.fsa.lm_scores + bonus, (scale, token_bonus)
        return self.fsa


@dataclass(frozen=True, eq=False)
class DecodingGraph:
    """A decoding graph in plain tensors.

    Its states, start and final are those of LG, or of the topology composed with LG (`compile_tdt_graph`).

    Args:
      arcs: (A, 4) int32 in k2's layout: source, target, label, and the bits of the float32 score. Labels are tokens or,
        with durations, columns of the dense matrix of hainan_k2.fsa.lattices.topology.
      aux_labels: (A,) int32 word ids.
      words, pieces: the symbols of word ids and of tokens.
      durations: those of the topology, in frames; None for LG alone.
      aligned: whether each word is on the arc of its last token, as in a graph of ours; else it is on any token, or on
        the arc into the final state (icefall_graph).
    """

    arcs: Tensor
    aux_labels: Tensor
    words: tuple[str, ...]
    pieces: tuple[str, ...]
    durations: Optional[tuple[int, ...]] = None
    aligned: bool = True
    _cache: dict[str, tuple[Any, _Composed]] = field(default_factory=dict, repr=False)  # the last, by topology
    _token_graphs: dict[torch.device, TokenGraph] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls, fsa: Fsa, words: Sequence[str], pieces: Sequence[str], durations: Optional[Sequence[int]] = None
    ) -> DecodingGraph:
        """From the k2.Fsa of spell_out, or of compile_tdt_graph with these durations."""
        state = fsa.as_dict()
        durations = None if durations is None else tuple(durations)
        arcs = state["arcs"].to("cpu", copy=True)  # k2 writes scores into those of the fsa
        return cls(arcs, state["aux_labels"].cpu(), tuple(words), tuple(pieces), durations)

    def fsa(self) -> Fsa:
        """The graph as a k2.Fsa."""
        k2 = load_k2()
        return k2.Fsa(self.arcs.clone(), self.aux_labels)  # a copy, because k2 writes scores into the arcs

    def search_graph(
        self, durations: Sequence[int], scale: float = 1.0, device: Union[str, torch.device] = "cpu"
    ) -> Fsa:
        """The k2.Fsa for intersect_tdt: composed with the topology, its scores multiplied by `scale`. `lm_scores` is a
        copy of them, which keeps them apart from those of the model after the composition.

        The composition is made once; a call with another scale changes the result of the last call. ValueError if the
        graph was composed for other durations.
        """
        durations, device = tuple(durations), torch.device(device)
        if self.durations not in (None, durations):
            raise ValueError(
                f"the graph is for durations {self.durations}, the model has {durations}: compile it for "
                "those, by `hainan-compile-graph --durations`"
            )

        def make() -> Fsa:
            return self.fsa() if self.durations else compile_tdt_graph(self.fsa(), len(self.pieces), durations)

        return self._composed(durations, device, make).weighted(scale)

    def ctc_graph(self, scale: float = 1.0, token_bonus: float = 0.0, device: Union[str, torch.device] = "cpu") -> Fsa:
        """The k2.Fsa for intersect_ctc: composed with the CTC topology, its scores multiplied by `scale`, which are
        also its `lm_scores`, and the bonus added to every token.

        As in search_graph, the composition is made once. ValueError if the graph was composed with the TDT topology.
        """
        self._check_alone()
        device = torch.device(device)
        composed = self._composed(None, device, lambda: compile_ctc_graph(self.fsa(), len(self.pieces)))
        return composed.weighted(scale, token_bonus)

    def _composed(
        self, durations: Optional[tuple[int, ...]], device: torch.device, make: Callable[[], Fsa]
    ) -> _Composed:
        """What `make` gives, on the device; the last one is kept for TDT and, where `durations` is None, for CTC."""
        topology, key = "ctc" if durations is None else "tdt", (durations, device)
        if topology not in self._cache or self._cache[topology][0] != key:
            self._cache.pop(topology, None)  # before the next one needs memory
            self._cache[topology] = key, _Composed(make().to(device))
        return self._cache[topology][1]

    def _check_alone(self) -> None:
        """ValueError if the graph was composed with a topology."""
        if self.durations is not None:
            raise ValueError(
                f"the graph is for durations {self.durations}: this search needs LG alone, made by "
                "`hainan-compile-graph` without --durations"
            )

    def token_graph(self, device: Union[str, torch.device] = "cpu") -> TokenGraph:
        """LG for a search that goes arc by arc, made once per device; outputs are word ids.

        ValueError if the graph was composed with a topology, or is one of icefall.
        """
        device = torch.device(device)
        if not self.aligned:
            raise ValueError("this search needs a graph of `hainan-compile-graph`, not one of icefall")
        if device not in self._token_graphs:
            self._check_alone()
            scores = self.arcs[:, 3].contiguous().view(torch.float32)
            self._token_graphs[device] = TokenGraph.of(self.arcs, scores, self.aux_labels).to(device)
        return self._token_graphs[device]

    def output(self, tokens: Sequence[int], ids: Sequence[int], last: int) -> tuple[tuple[str, int, int], ...]:
        """The words of a path, in the form of Hypothesis.output.

        Args:
          tokens, ids: of the path's tokens, and the word ids of their arcs, 0 for none.
          last: the word id of the arc into the final state; below 1 for none.
        """
        if self.aligned:
            return graph_words(ids, self.words)
        starts = [self.pieces[token].startswith(WORD_START) for token in tokens]
        return words_by_start([self.words[id] if id > 0 else "" for id in (*ids, last)], starts)

    def save(self, path: Union[str, Path]) -> None:
        """Write a .safetensors file that `read` reads. ValueError for a graph of icefall."""
        if not self.aligned:
            raise ValueError("a graph of icefall is not written: it has a file of its own")
        write_container(
            path,
            KIND,
            {"arcs": self.arcs, "aux_labels": self.aux_labels},
            {"words": self.words, "pieces": self.pieces, "durations": self.durations},
        )

    @classmethod
    def read(cls, path: Union[str, Path], pieces: Sequence[str]) -> DecodingGraph:
        """Read a file of `save`, or icefall's lang folder or an LG.pt in one, for a model with these pieces.

        Raises:
          ValueError: if the file is damaged, if its pieces differ, or if k2 could not search the graph.
        """
        path = Path(path)
        if path.is_dir() or path.suffix == SUFFIX:
            arcs, outputs, texts = read_icefall_graph(path, pieces)
            graph = cls(arcs, outputs, texts, tuple(pieces), aligned=False)
        else:
            graph = cls._read_container(path, tuple(pieces))
        problem = graph._problem()
        if problem:
            raise ValueError(f"{path}: {problem}")
        return graph

    @classmethod
    def _read_container(cls, path: Path, pieces: tuple[str, ...]) -> DecodingGraph:
        tensors, facts = read_container(path, KIND)
        try:
            durations = facts["durations"] if facts["durations"] is None else tuple(map(int, facts["durations"]))
            words, names = tuple(facts["words"]), tuple(facts["pieces"])
            graph = cls(tensors["arcs"], tensors["aux_labels"], words, names, durations)
        except (LookupError, TypeError, ValueError):
            raise ValueError(f"{path} is not complete: make it with `hainan-compile-graph`") from None
        if graph.pieces != pieces:
            raise ValueError(
                f"the {len(graph.pieces)} pieces of {path} are not the {len(pieces)} of the "
                "model's tokenizer: compile it with the model's --lang-dir"
            )
        return graph

    def _problem(self) -> str:
        """The reason why k2 cannot search this graph; empty if it can."""
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
        return next((problem for problem, present in checks.items() if present), "")
