"""Decoding resources: language models, word graphs, grammars and hotwords that a search uses beside the model.

`load_resources` reads them from files; `DecodingResources.to` moves them to the model's device, once for all batches.
Importing this file loads neither torch nor k2, so that commands can make their options of `ResourceConfig` quickly.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Optional

from hainan_k2.config import first_names, option

if TYPE_CHECKING:
    import torch

    from hainan_k2.fsa.language.grammar import Grammar
    from hainan_k2.fsa.language.hotwords import HotwordGraph
    from hainan_k2.fsa.language.lm_file import Lm
    from hainan_k2.fsa.language.ngram import NgramLm
    from hainan_k2.fsa.language.word_lm import WordLm
    from hainan_k2.fsa.lattices.decoding_graph import DecodingGraph
    from hainan_k2.text.tokenizer import Tokenizer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DecodingResources:
    """Loaded resources; None where none was given. `Method.needs` and `Method.uses` name fields of this class.

    `lm_origin`: "none" where even the model directory's own language model is not wanted, "model" where `lm` is it.
    """

    lm: Optional[Lm] = None  # over tokens, or over words that are spelled in tokens
    lodr_lm: Optional[NgramLm] = None  # over tokens, of low order: viterbi-lm subtracts it
    graph: Optional[DecodingGraph] = None  # lexicon and LM over words
    word_lm: Optional[WordLm] = None  # over the graph's words: the graph's lattice is rescored with it
    grammar: Optional[Grammar] = None
    hotwords: Optional[HotwordGraph] = None
    pieces: Optional[Sequence[str]] = None  # the text of every token, (V,)
    lm_origin: str = ""
    _moved: dict[Any, DecodingResources] = field(default_factory=dict, init=False, repr=False, compare=False)

    def given(self) -> tuple[str, ...]:
        """The names of the resources that were read from files, in the order of the fields."""
        return tuple(name for name in FROM_FILES if getattr(self, name) is not None)

    def require(self, name: str) -> Any:
        """The resource of that name; ValueError where it was not given."""
        resource = getattr(self, name)
        if resource is None:
            raise ValueError(f"this needs --{name.replace('_', '-')}: DecodingResources has no {name}")
        return resource

    def to(self, device: torch.device) -> DecodingResources:
        """These resources with their tensors on `device`. They are copied once: later calls return the same object.

        Word graphs and grammars are moved, and remembered, when they are compiled (DecodingGraph, Grammar).
        """
        if device not in self._moved:
            tensors = {name: getattr(self, name) for name in ("lm", "lodr_lm", "word_lm", "hotwords")}
            moved = {name: resource.to(device) for name, resource in tensors.items() if resource is not None}
            self._moved[device] = replace(self, **moved)
            self._moved[device]._moved[device] = self._moved[device]
        return self._moved[device]


NO_LM = "none"
FROM_FILES = ("lm", "lodr_lm", "graph", "word_lm", "grammar", "hotwords")  # the fields that have a flag
NO_RESOURCES = DecodingResources()


@dataclass(frozen=True)
class ResourceConfig:
    """Files of decoding resources: LM, graph, grammar, hotwords. An empty name means none."""

    lm: str = option(
        "",
        "n-gram LM over tokens or words, ARPA or of hainan-prune-lm; if not given, that of the model directory, if it "
        "has one; none: not even that",
    )
    lodr_lm: str = option("", "n-gram LM of low order over tokens that viterbi-lm subtracts from --lm")
    graph: str = option(
        "", "word graph of hainan-compile-graph: LG.safetensors or TLG.safetensors; or a lang folder of icefall"
    )
    word_lm: str = option("", "larger n-gram LM over words, ARPA, that replaces the LM of --graph in its lattice")
    grammar: str = option(
        "",
        "closed grammar: a text, OpenFst text or binary, .safetensors of hainan-compile-grammar, "
        "or the name of an example (digits, dates, home, spelling)",
    )
    isymbols: str = option("", "symbol table of the input labels of an OpenFst --grammar, lines `symbol id`")
    osymbols: str = option("", "symbol table of its output labels; without one the output is the label numbers")
    hotwords: str = option("", "phrases to expect, one per line, each with an optional ' :weight' behind it")

    help_title = "decoding resources: LM, graph, grammar, hotwords"


def load_resources(config: ResourceConfig, tokenizer: Tokenizer) -> DecodingResources:
    """Read the files that `config` names. Raises ValueError with the file and line of what is wrong."""
    from hainan_k2.fsa.language.grammar_files import load_grammar
    from hainan_k2.fsa.language.hotword_list import read_hotwords
    from hainan_k2.fsa.lattices.decoding_graph import DecodingGraph

    hotwords = read_hotwords(config.hotwords, tokenizer) if config.hotwords else None
    graph = DecodingGraph.read(config.graph, tokenizer.pieces) if config.graph else None
    if not config.grammar and (config.isymbols or config.osymbols):
        raise ValueError("--isymbols and --osymbols are the symbols of --grammar: give it as well")
    grammar = load_grammar(config.grammar, tokenizer, config.isymbols, config.osymbols) if config.grammar else None
    return DecodingResources(
        lm=_load_lm(config.lm, tokenizer),
        lodr_lm=_load_lodr_lm(config.lodr_lm, tokenizer),
        graph=graph,
        word_lm=_load_word_lm(config.word_lm, graph),
        grammar=grammar,
        hotwords=hotwords,
        pieces=tokenizer.pieces,
        lm_origin=NO_LM if config.lm == NO_LM else "",
    )


def _load_lm(path: str, tokenizer: Tokenizer) -> Optional[Lm]:
    from hainan_k2.fsa.language.lm_file import read_lm
    from hainan_k2.fsa.language.lookahead_lm import LookaheadLm

    if path in ("", NO_LM):
        return None
    lm = read_lm(path, tokenizer.pieces, tokenizer.encode)
    if isinstance(lm, LookaheadLm):
        if lm.left_out:
            logger.warning(
                "%s: %d of %d words have no spelling of their own (%s): they count as unknown",
                path,
                len(lm.left_out),
                len(lm.left_out) + len(lm.spellings),
                first_names(lm.left_out),
            )
    elif lm.missing:
        logger.warning(
            "%s has neither <unk> nor %d of %d tokens (%s): it gives them probability 0",
            path,
            len(lm.missing),
            tokenizer.vocab_size - 1,
            first_names(lm.missing),
        )
    return lm


def _load_lodr_lm(path: str, tokenizer: Tokenizer) -> Optional[NgramLm]:
    from hainan_k2.fsa.language.lookahead_lm import LookaheadLm

    lm = _load_lm(path, tokenizer)
    if isinstance(lm, LookaheadLm):
        raise ValueError(f"{path} is a language model over words: --lodr-lm takes one over tokens")
    return lm


def _load_word_lm(path: str, graph: Optional[DecodingGraph]) -> Optional[WordLm]:
    from hainan_k2.fsa.language.word_lm import WordLm

    if not path:
        return None
    if graph is None:
        raise ValueError("--word-lm rescores the lattice of --graph: give it as well")
    used = graph.aux_labels.unique().tolist()
    lm = WordLm.read(path, graph.words, used)
    if lm.unknown:
        logger.warning(
            "%s does not have %d of %d words of the graph (%s): they have the score of its <unk>",
            path,
            len(lm.unknown),
            sum(label > 0 for label in used),
            first_names(lm.unknown),
        )
    return lm
