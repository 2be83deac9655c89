"""An n-gram language model over the words of a word graph, to rescore the graph's lattices.

It is the automaton of hainan_k2.fsa.language.ngram: its back-off arcs are failure transitions, so that every sentence
has one path and one score. The file may have words that the graph does not have; they are in no lattice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hainan_k2.config import first_names
from hainan_k2.fsa.language.arpa import read_arpa
from hainan_k2.fsa.language.lexicon import EPSILON, NO_WORDS, UNKNOWN_WORD
from hainan_k2.fsa.language.ngram import NgramLm, OpenVocabulary, build_lm, vocabulary_of


@dataclass(frozen=True, eq=False)
class WordLm:
    """An n-gram LM that reads the output labels of a word graph.

        lm = WordLm.read("words.arpa", graph.words, graph.aux_labels.unique().tolist())

    Args:
      lm: it has its own numbers of words.
      spelled: (W, n) int64, for every output label the numbers of its words, -1 behind the last. In a graph of ours a
        label is one word; in one of icefall it may be several.
      unknown: the words of the graph that the file does not have, and that have the score of its <unk>.
    """

    lm: NgramLm
    spelled: Tensor
    unknown: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: str, words: Sequence[str], used: Sequence[int]) -> WordLm:
        """The LM of a word-level ARPA file, plain or gzipped.

        Args:
          words: the text of every output label.
          used: the output labels that the graph has.
        Raises:
          ValueError: as NgramLm.read; for a file without </s>; and, with their number, for words of the graph that the
            file does not have if it has no <unk> either.
        """
        texts = {label: words[label].split() for label in used if label > 0}
        names = {word for text in texts.values() for word in text}
        symbols = [EPSILON, *sorted(names - {*NO_WORDS, "<unk>"})]
        vocabulary = OpenVocabulary(vocabulary_of(symbols))
        unk = vocabulary[b"<unk>"]
        lm = build_lm(path, read_arpa(path, vocabulary), symbols, vocabulary)
        number = {symbol: int(word) for symbol, word in zip(symbols[1:], lm.words[1:])}
        number.update({UNKNOWN_WORD: unk, "<unk>": unk})
        lacking = sorted(name for name in names if number.get(name) == unk and name not in (UNKNOWN_WORD, "<unk>"))
        if lm.log_probs[unk].isinf() and any(unk == number.get(name) for name in names):
            raise ValueError(
                f"{path} has neither <unk> nor {len(lacking) or 1} of the {len(names)} words of the graph "
                f"({first_names(lacking or [UNKNOWN_WORD])}): train it on text with these words, or with <unk>"
            )
        if lm.log_probs[lm.end_word].isinf():
            raise ValueError(f"{path}: no sentence can end: the file has no unigram </s>")
        numbers = {label: [number[word] for word in text if word in number] for label, text in texts.items()}
        spelled = torch.full((len(words), max(map(len, numbers.values()), default=1)), -1, dtype=torch.int64)
        for label, row in numbers.items():
            spelled[label, : len(row)] = torch.tensor(row, dtype=torch.int64)
        return cls(lm, spelled, tuple(lacking))

    def to(self, device: torch.device) -> WordLm:
        """The same LM on `device`."""
        return replace(self, lm=self.lm.to(device), spelled=self.spelled.to(device))

    def advance(self, states: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities (N,) float32 of output labels (N,) after histories `states` (N,), and the next histories.

        A label below 1 is no word: its score is 0, and the history stays.
        """
        scores, words = torch.zeros_like(states, dtype=torch.float32), self.spelled[labels.clamp(min=0).long()]
        for column in words.unbind(1):
            (rows,) = (column >= 0).nonzero(as_tuple=True)
            score, after = self.lm.follow(states[rows], column[rows])
            scores, states = scores.index_add(0, rows, score), states.index_copy(0, rows, after)
        return scores, states
