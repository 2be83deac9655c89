"""The files that a search's knowledge is loaded from."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Optional

from hainan_k2.config import option
from hainan_k2.fsa.language.grammar_files import load_grammar
from hainan_k2.fsa.language.hotword_list import read_hotwords
from hainan_k2.fsa.language.ngram import NgramLm
from hainan_k2.fsa.lattices.decoding_graph import DecodingGraph
from hainan_k2.search.resources import Knowledge
from hainan_k2.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class KnowledgeConfig:
    """An empty name means none."""

    lm: str = option("", "token-level n-gram LM, ARPA: for viterbi-lm and nbest-lm")
    lodr_lm: str = option("", "token-level n-gram LM of low order, ARPA, that viterbi-lm subtracts from --lm")
    graph: str = option("", "word graph of hainan-compile-graph, LG.safetensors or TLG.safetensors: for graph")
    grammar: str = option(
        "",
        "closed grammar: a text, OpenFst text or binary, .safetensors of hainan-compile-grammar, "
        "or the name of an example (digits, dates, home, spelling): for grammar",
    )
    isymbols: str = option("", "symbol table of an OpenFst --grammar's input labels, lines `symbol id`")
    osymbols: str = option("", "symbol table of its output labels; numbers are put out as such without")
    hotwords: str = option("", "phrases to expect, one a line with an optional ' :weight' behind it")


def load_knowledge(config: KnowledgeConfig, tokenizer: Tokenizer) -> Knowledge:
    """Read the files that `config` names; ValueError with file and line of what is wrong."""
    hotwords = read_hotwords(config.hotwords, tokenizer) if config.hotwords else None
    graph = DecodingGraph.read(config.graph, tokenizer.pieces) if config.graph else None
    if not config.grammar and (config.isymbols or config.osymbols):
        raise ValueError("--isymbols and --osymbols are the symbols of --grammar: give it as well")
    grammar = load_grammar(config.grammar, tokenizer, config.isymbols, config.osymbols) if config.grammar else None
    return Knowledge(
        lm=_load_lm(config.lm, tokenizer),
        lodr_lm=_load_lm(config.lodr_lm, tokenizer),
        graph=graph,
        grammar=grammar,
        hotwords=hotwords,
        pieces=tokenizer.pieces,
    )


def _load_lm(path: str, tokenizer: Tokenizer) -> Optional[NgramLm]:
    if not path:
        return None
    lm = NgramLm.read(path, tokenizer.pieces)
    if lm.missing:
        shown = " ".join(lm.missing[:5]) + (" ..." if len(lm.missing) > 5 else "")
        logging.warning(
            "%s has neither <unk> nor %d of %d tokens (%s): to it they are impossible",
            path,
            len(lm.missing),
            tokenizer.vocab_size - 1,
            shown,
        )
    return lm
