"""What a search may know beside the model: language models, grammars, hotwords. Loaded once, used for every batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Optional


@dataclass(frozen=True)
class Knowledge:
    """Loaded knowledge; None where none was given. A method says in `Method.needs` which of it it cannot do without."""

    lm: Optional[Any] = None  # hainan_k2.fsa.language.ngram.NgramLm
    lodr_lm: Optional[Any] = None  # the same, of low order: what viterbi-lm subtracts
    graph: Optional[Any] = None  # hainan_k2.fsa.lattices.decoding_graph.DecodingGraph
    grammar: Optional[Any] = None  # hainan_k2.fsa.language.grammar.Grammar
    hotwords: Optional[Any] = None  # hainan_k2.fsa.language.hotwords.HotwordGraph
    pieces: Optional[Sequence[str]] = field(default=None, metadata={"file": False})  # text of every token


NOTHING = Knowledge()
