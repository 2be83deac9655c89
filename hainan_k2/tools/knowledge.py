"""The files that a search's knowledge is loaded from."""

from __future__ import annotations

from dataclasses import dataclass

from hainan_k2.config import option
from hainan_k2.search.knowledge import Knowledge
from hainan_k2.text import Tokenizer


@dataclass(frozen=True)
class KnowledgeConfig:
    """An empty name means none."""

    lm: str = option("", "token-level n-gram LM, ARPA: for viterbi-lm and nbest-lm")


def load_knowledge(config: KnowledgeConfig, tokenizer: Tokenizer) -> Knowledge:
    """Read the files that `config` names; ValueError with file and line of what is wrong."""
    return Knowledge()
