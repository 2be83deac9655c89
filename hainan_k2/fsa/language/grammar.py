"""Closed grammars over tokens, from a grammar text, an OpenFst file or a .safetensors file.

The automaton: states 0 ... N-1, start 0, final N-1. Arcs into N-1 have label -1, all others a token, so there are no
epsilons.

    (0) --- token : output / score ---> (i) --- ... ---> (j) --- -1 / final score ---> (N-1)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Union

import torch
from torch import Tensor

from hainan_k2.files.container import Kind, is_container, read_container, write_container
from hainan_k2.fsa.k2 import Fsa, load_k2
from hainan_k2.fsa.language.automaton import EPSILON, Arc, Automaton, Output, merge_alike, remove_epsilons
from hainan_k2.fsa.language.fst_grammar import LEVELS, spell_fst
from hainan_k2.fsa.language.grammar_rules import compile_text
from hainan_k2.fsa.language.openfst import Fst, read_fst_text
from hainan_k2.fsa.language.openfst_binary import is_binary_fst, read_fst_binary
from hainan_k2.fsa.language.spelling import Speller, Vocabulary
from hainan_k2.fsa.language.token_graph import TokenGraph

KIND = Kind("grammar", "hainan-compile-grammar")
GLUE = "@@"


@dataclass(frozen=True)
class Grammar:
    """A grammar as tensors on the CPU.

    The columns of `arcs` are source, target, label and output id; sources ascend. Output 0 is none. Another output may
    be the empty text: it ends the words that the output before it replaces.

        grammar = read_grammar("digits.grammar", tokenizer)
        lattice = compose(nar_lattice(...), grammar)
    """

    arcs: Tensor  # (A, 4) int32
    scores: Tensor  # (A,) float32, natural log
    outputs: tuple[str, ...]  # index = output id
    pieces: tuple[str, ...]  # of the tokenizer, index = token id
    transduces: bool  # whether it has outputs; if not, the words themselves are written
    _made: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def num_states(self) -> int:
        """N, the final state included."""
        return int(self.arcs[:, 1].max()) + 1

    def tokens(self) -> Tensor:
        """(W,) int64: the tokens that are labels of arcs, ascending."""
        return self.arcs[:, 2][self.arcs[:, 2] > 0].unique().long()

    @property
    def aux_labels(self) -> Tensor:
        """(A,) int32: output ids, or the tokens where there are no other outputs; -1 on arcs into the final state."""
        return torch.where(self.arcs[:, 2] == -1, -1, self.arcs[:, 3 if self.transduces else 2]).int()

    def fsa(self, device: Union[str, torch.device] = "cpu") -> Fsa:
        """The grammar as a k2.Fsa with `aux_labels`, made once per device.

        `lm_scores` are a copy of its scores, which keeps them apart from those of the
        lattice after composition.
        """
        k2 = load_k2()
        device = torch.device(device)
        if device not in self._made:
            fsa = k2.Fsa(torch.cat([self.arcs[:, :3], torch.zeros_like(self.arcs[:, :1])], dim=1).contiguous())
            fsa.scores = self.scores
            fsa.aux_labels = self.aux_labels
            fsa.lm_scores = self.scores.clone()
            self._made[device] = fsa.to(device)
        return self._made[device]

    def token_graph(self, device: Union[str, torch.device] = "cpu") -> TokenGraph:
        """The grammar for a search that goes arc by arc, made once per device; outputs are `aux_labels`."""
        key = "tokens", torch.device(device)
        if key not in self._made:
            self._made[key] = TokenGraph.of(self.arcs, self.scores, self.aux_labels).to(device)
        return self._made[key]

    def save(self, path: Union[str, Path]) -> None:
        """Write a .safetensors file for read_grammar."""
        write_container(
            path,
            KIND,
            {"arcs": self.arcs, "scores": self.scores},
            {"outputs": self.outputs, "pieces": self.pieces, "transduces": self.transduces},
        )


def make_grammar(automaton: Automaton, pieces: Sequence[str], transduces: bool) -> Grammar:
    """The grammar of an automaton without epsilons. States are renumbered breadth first; the start is 0.

    Args:
      pieces: of the tokenizer, index = token id.
      transduces: whether outputs are kept.
    """
    automaton = merge_alike(automaton)
    leaving: dict[int, list[Arc]] = {}
    for arc in automaton.arcs:
        leaving.setdefault(arc.source, []).append(arc)
    number, order = {automaton.start: 0}, [automaton.start]
    for state in order:  # grows as it goes
        for arc in leaving.get(state, ()):
            if arc.target not in number:
                number[arc.target] = len(number)
                order.append(arc.target)
    ids: dict[Output, int] = {(): 0}
    arcs: list[tuple[int, int, int, int]] = []
    scores: list[float] = []
    for state in order:
        for arc in leaving.get(state, ()):
            output = ids.setdefault(arc.output if transduces else (), len(ids))
            arcs.append((number[state], number[arc.target], arc.label, output))
            scores.append(arc.score)
        if state in automaton.finals:
            arcs.append((number[state], len(number), -1, 0))
            scores.append(automaton.finals[state])
    return Grammar(
        torch.tensor(arcs, dtype=torch.int32),
        torch.tensor(scores, dtype=torch.float32),
        tuple(" ".join(filter(None, output)) for output in ids),
        tuple(pieces),
        transduces,
    )


def read_grammar(
    path: Union[str, Path],
    tokenizer: Vocabulary,
    level: str = "auto",
    input_symbols: Optional[dict[int, str]] = None,
    output_symbols: Optional[dict[int, str]] = None,
    acceptor: Optional[bool] = None,
) -> Grammar:
    """The grammar of a file: a grammar text (grammar_text), OpenFst text or binary, or a file of Grammar.save.

    Args:
      tokenizer: spells the words, such as hainan_k2.text.Tokenizer.
      level: of the labels of an OpenFst file: "word", or "token": pieces of the tokenizer or, without a symbol table,
        its ids. "auto" means tokens if the labels are numbers without symbol table, which is logged, or if one contains
        "▁". Disambiguation symbols (#0, #1 ...), <s>, </s> and !SIL are epsilons.
      input_symbols, output_symbols: {id: symbol} for an OpenFst file that contains no symbol tables.
      acceptor: of an OpenFst text: whether its arcs have no output label; None: as their fields suggest.
    Raises:
      ValueError: one line that names the file, the line or state, and the problem.
    """
    if level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(LEVELS)}, got {level!r}")
    where, speller = str(path), Speller(tokenizer)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    saved = is_container(data)
    fst = None if saved else _read_fst(data, where, acceptor)
    if fst is None and (level, input_symbols, output_symbols, acceptor) != ("auto", None, None, None):
        raise ValueError(f"{path} is no OpenFst file: level, symbol tables and acceptor are for those only")
    if saved:
        return _read_saved(path, speller)
    if fst is None:
        automaton, transduces = compile_text(data.decode("utf-8-sig"), where, speller)
        return make_grammar(automaton, speller.pieces, transduces)
    tables = input_symbols or fst.input_symbols, output_symbols or fst.output_symbols
    automaton, transduces = spell_fst(fst, where, speller, level, *tables)
    try:
        return make_grammar(remove_epsilons(automaton), speller.pieces, transduces)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _read_fst(data: bytes, where: str, acceptor: Optional[bool]) -> Optional[Fst]:
    """The FST of OpenFst text, which begins with a digit, or binary; None for a grammar text."""
    if is_binary_fst(data):
        return read_fst_binary(data, where)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{where} is neither UTF-8 text nor an OpenFst binary nor a saved grammar") from None
    return read_fst_text(text, where, acceptor) if re.match(r"\s*\d", text, re.ASCII) else None


def _read_saved(path: Union[str, Path], speller: Speller) -> Grammar:
    tensors, facts = read_container(path, KIND)
    arcs, scores = tensors.get("arcs"), tensors.get("scores")
    outputs, pieces, transduces = (facts.get(k) for k in ("outputs", "pieces", "transduces"))
    if pieces != list(speller.pieces):
        raise ValueError(f"{path} was compiled for another tokenizer: compile it again")
    if (
        arcs is None
        or scores is None
        or arcs.dtype != torch.int32
        or scores.dtype != torch.float32
        or arcs.shape != (scores.numel(), 4)
        or scores.dim() != 1
        or not len(scores)
        or not isinstance(outputs, list)
    ):
        raise ValueError(f"{path} holds no grammar: its tensors do not fit each other")
    source, target, label, output = arcs.T
    end = int(target.max())
    problems = {
        "states": (source.diff() < 0).any() or source.min() < 0 or (source >= end).any() or target.min() < 0,
        "labels": ((label == -1) != (target == end)).any()
        or (label == EPSILON).any()
        or label.min() < -1
        or label.max() >= len(pieces),
        "outputs": output.min() < 0 or output.max() >= len(outputs) or not all(isinstance(x, str) for x in outputs),
        "scores": not torch.isfinite(scores).all(),
    }
    for name, wrong in problems.items():
        if wrong:
            raise ValueError(f"{path} holds a grammar with impossible {name}")
    return Grammar(arcs.contiguous(), scores.contiguous(), tuple(outputs), speller.pieces, bool(transduces))
