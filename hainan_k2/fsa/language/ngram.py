"""Back-off n-gram language models over tokens as tensors, for look-ups of many states and tokens at once.

A state is a history. State 0 is the empty history; the others are the n-grams below the highest order that longer
n-grams begin with, or that have a back-off weight. The start is the state of <s>. From the state of history h

    (h) --- w : log P(w | h) ---> (longest state that ends h w)              for every n-gram h w of the file
    (h) --- failure : log backoff(h) ---> (longest state that ends h, shorter than h)

    final score of (h): log P(</s> | h)

The failure arc is only taken by a token for which h has no arc. So every token has exactly one path from a state, and
the automaton gives each sentence its probability under the model. A token without unigram counts as <unk>; if the file
has no <unk> either, its probability is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Optional

import numpy as np
import torch
from torch import Tensor

from hainan_k2.fsa.language.arpa import Ngrams, read_arpa
from hainan_k2.fsa.language.scorers import score_sentences


@dataclass(frozen=True, eq=False)
class NgramLm:
    """S states, A arcs sorted by state and word; W words: V tokens, <s>, </s> and, unless it is a token, <unk>.

    State 0 has an arc of every word: arc w is of word w, with score -inf if the file does not have the word.

        lm = NgramLm.read("tokens.arpa", tokenizer.pieces)
        lm.score([tokenizer.encode("turn on the light")])      # (1,) natural log-probability, from <s> to </s>
    """

    order: int
    start: int  # the state after <s>
    end_word: int
    num_words: int  # W
    missing: tuple[str, ...]  # tokens of probability 0: neither they nor <unk> are in the file
    words: Tensor  # (V,) int64: the word of every token, itself or <unk>
    keys: Tensor  # (A + 1,) int64: state * W + word, ascending; the last one is a sentinel
    log_probs: Tensor  # (A + 1,) float32, natural log
    next_states: Tensor  # (A + 1,) int64
    backoff_log_probs: Tensor  # (S,) float32
    backoff_states: Tensor  # (S,) int64

    @classmethod
    def read(cls, path: str, symbols: Sequence[str]) -> NgramLm:
        """The LM of an ARPA file, plain or gzipped.

        Args:
          symbols: the tokens; the index of one is its id.
        Raises:
          ValueError: "FILE:LINE: ..." for what is not an ARPA file of these tokens, an n-gram whose history is not
            in the file, or a history that lacks the back-off weight it needs.
        """
        vocabulary = vocabulary_of(symbols)
        return build_lm(path, read_arpa(path, vocabulary), symbols, vocabulary)

    @property
    def num_states(self) -> int:
        """S."""
        return len(self.backoff_states)

    @property
    def num_arcs(self) -> int:
        """A, the number of n-grams, without failure arcs."""
        return len(self.keys) - 1

    def to(self, device: torch.device | str) -> NgramLm:
        """The same LM on `device`."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: dict[str, Any] = {name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **moved)

    def advance(self, states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """log P(token | state) (N,) float32, -inf for a missing token, and next states (N,) int64.

        Args:
          states: (N,) int64.
          tokens: (N,) int64 in 0 ... V - 1.
        """
        return self.follow(states, self.words[tokens])

    def final(self, states: Tensor) -> Tensor:
        """log P(</s> | state) (N,) float32 of states (N,); -inf if the file has no </s>."""
        return self.follow(states, torch.full_like(states, self.end_word))[0]

    def score(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """(N,) float64 log-probabilities of N token sequences as sentences, from <s> to </s>."""
        return score_sentences(self, sequences, self.keys.device)

    def follow(self, states: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """As `advance`, of words (N,): numbers below `num_words`, tokens first, then <s> and </s>."""
        arcs, paid = self.find(states, words)
        log_probs = self.log_probs.index_select(0, arcs)
        return log_probs if paid is None else log_probs + paid, self.next_states.index_select(0, arcs)

    def find(self, states: Tensor, words: Tensor) -> tuple[Tensor, Optional[Tensor]]:
        """The arcs (N,) that words (N,) take from states (N,), and the log back-off weights (N,) paid on the way to
        them; None where no word backs off."""
        keys = states * self.num_words + words
        arcs = torch.searchsorted(self.keys, keys)
        rows = (self.keys.index_select(0, arcs) != keys).nonzero()[:, 0]
        paid = None
        while rows.numel():  # at most order - 1 times: state 0 has an arc of every word
            if paid is None:
                paid = torch.zeros_like(states, dtype=self.log_probs.dtype)
                sources, words = states.index_select(0, rows), words.index_select(0, rows)
            paid.index_add_(0, rows, self.backoff_log_probs.index_select(0, sources))
            sources = self.backoff_states.index_select(0, sources)
            keys = sources * self.num_words + words
            lower_arcs = torch.searchsorted(self.keys, keys)
            arcs.index_copy_(0, rows, lower_arcs)
            absent = (self.keys.index_select(0, lower_arcs) != keys).nonzero()[:, 0]
            rows, sources, words = (x.index_select(0, absent) for x in (rows, sources, words))
        return arcs, paid


def vocabulary_of(symbols: Sequence[str]) -> dict[bytes, int]:
    """The number of every word, in UTF-8, that an ARPA file over `symbols` may have."""
    vocabulary = {symbol.encode(): i for i, symbol in enumerate(symbols)}
    vocabulary.update({b"<s>": len(symbols), b"</s>": len(symbols) + 1})
    vocabulary.setdefault(b"<unk>", len(symbols) + 2)
    vocabulary.setdefault(b"<UNK>", vocabulary[b"<unk>"])
    return vocabulary


class OpenVocabulary(dict[bytes, int]):
    """A vocabulary that numbers every further word that it is asked for."""

    def __missing__(self, word: bytes) -> int:
        self[word] = len(self)  # above those of vocabulary_of
        return self[word]


class _Index:
    """Finds n-grams: the rank of an n-gram among those of its order, sorted by history and last word."""

    def __init__(self, num_words: int):
        self.num_words = num_words
        self.keys: list[np.ndarray] = []  # by order: number of the history * W + last word, ascending

    def number(self, words: np.ndarray) -> np.ndarray:
        """(N,) numbers of words (N, n); -1 where there is no such n-gram."""
        at = np.zeros(len(words), np.int64)
        for keys, word in zip(self.keys, words.T):
            wanted = at * self.num_words + word
            at = np.searchsorted(keys, wanted)
            at[keys[np.minimum(at, len(keys) - 1)] != wanted] = -1
        return at


def build_lm(path: str, sections: list[Ngrams], symbols: Sequence[str], vocabulary: dict[bytes, int]) -> NgramLm:
    """The automaton of n-grams.

    Args:
      path: the file's name, for messages.
      sections: the n-grams of each order, as of read_arpa.
      symbols, vocabulary: the tokens, and vocabulary_of(symbols).
    Raises:
      ValueError: as NgramLm.read.
    """
    num_words = max(vocabulary.values()) + 1
    index, histories = _Index(num_words), []  # by order: of every n-gram, the number of its history
    for n, section in enumerate(sections):
        number = index.number(section.words[:, :-1])
        _refuse(path, section, number < 0, "has no history: the file does not have its words but the last")
        keys = number * num_words + section.words[:, -1]
        order = np.argsort(keys, kind="stable")
        sections[n], keys = section[order], keys[order]
        _refuse(path, sections[n], np.append(False, keys[1:] == keys[:-1]), "is in the file twice")
        index.keys.append(keys)
        histories.append(number[order])

    unigrams = sections[0].words[:, 0]
    num_states, states = 1, []  # by order: the state of every n-gram, -1 where it is none
    for section, history in zip(sections, histories[1:]):
        followers = np.bincount(history, minlength=len(section.words))
        # A history that every word follows never backs off, and kaldingram writes no weight for it.
        backs_off = (followers > 0) & (followers < np.count_nonzero(unigrams != vocabulary[b"<s>"]))
        unweighted = np.isnan(section.backoffs)
        _refuse(path, section, backs_off & unweighted, "begins longer ones but has no back-off weight")
        is_state = (followers > 0) | ~unweighted & (section.backoffs != 0)
        states.append(np.where(is_state, num_states + np.cumsum(is_state) - 1, -1))
        num_states += np.count_nonzero(is_state)

    def ending(words: np.ndarray) -> np.ndarray:
        """(N,) the longest states that end words (N, n)."""
        longest = np.zeros(len(words), np.int64)
        for n in range(1, min(words.shape[1], len(states)) + 1):
            number = index.number(words[:, -n:])
            state = np.where(number < 0, -1, states[n - 1][number])
            longest = np.where(state < 0, longest, state)
        return longest

    log_probs, next_states = [np.full(num_words, -np.inf)], [np.zeros(num_words, np.int64)]
    log_probs[0][unigrams], next_states[0][unigrams] = sections[0].log_probs, ending(sections[0].words)
    keys, backoff_log_probs, backoff_states = [np.arange(num_words)], [np.zeros(1)], [np.zeros(1, np.int64)]
    for state, number, section in zip(states, histories[1:], sections[1:]):
        keys.append(state[number] * num_words + section.words[:, -1])
        log_probs.append(section.log_probs)
        next_states.append(ending(section.words))
    for state, section in zip(states, sections):
        backoff_log_probs.append(np.nan_to_num(section.backoffs[state >= 0]))
        backoff_states.append(ending(section.words[state >= 0, 1:]))

    order = np.argsort(np.concatenate(keys))
    known = np.isin(np.arange(len(symbols)), unigrams)
    words = np.where(known, np.arange(len(symbols)), vocabulary[b"<unk>"])
    absent = np.isinf(log_probs[0][words])
    end_of_keys = np.iinfo(np.int64).max
    return NgramLm(
        order=len(sections),
        start=int(ending(np.array([[vocabulary[b"<s>"]]]))[0]),
        end_word=vocabulary[b"</s>"],
        num_words=num_words,
        missing=tuple(symbol for symbol, none in zip(symbols[1:], absent[1:]) if none),
        words=torch.from_numpy(words),
        keys=torch.from_numpy(np.append(np.concatenate(keys)[order], end_of_keys)),
        log_probs=torch.from_numpy(np.append(np.concatenate(log_probs)[order], 0.0)).float(),
        next_states=torch.from_numpy(np.append(np.concatenate(next_states)[order], 0)),
        backoff_log_probs=torch.from_numpy(np.concatenate(backoff_log_probs)).float(),
        backoff_states=torch.from_numpy(np.concatenate(backoff_states)),
    )


def _refuse(path: str, section: Ngrams, wrong: np.ndarray, complaint: str) -> None:
    """ValueError about the first n-gram that is `wrong` (N,), if there is one."""
    if wrong.any():
        line = section.lines[wrong].min()
        raise ValueError(f"{path}:{line}: this {section.words.shape[1]}-gram {complaint}")
