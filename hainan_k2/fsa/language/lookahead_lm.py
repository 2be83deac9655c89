"""An n-gram language model over words as an automaton over tokens: searches take it as one over tokens.

Words are spelled as the tokenizer spells them. A state is a pair (h, p) of a history h of words and a node p of the
prefix tree of all spellings. With the words "new" and "news":

    (h, root) -- _new -->  (h, _new)                 (h, _new) -- s -->     (h, _news)
    (h, _new) -- _york --> (h new, _york)            a token that starts a word ends the word before it

What a word scores is known at its end, which is too late for a pruned search. So every node has a look-ahead, the best
unigram log-probability of the words that go on from it (Ortmanns, Ney and Eiden, "Language-model look-ahead for large
vocabulary speech recognition", ICSLP 1996):

    within a word     look(p v) - look(p)                with look(root) = 0
    at its end        log P(w | h) - look(p)

Along a sentence the look-aheads cancel, and the sum of the log-probabilities of its words is left.

Every other sequence of n tokens from one word start to the next is an unknown word. It scores log P(<unk> | h) for the
word and -log(V - 1) for each token, all of them being equally probable. Where the file has no <unk>, P(<unk>) is the
probability of its least probable word.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.fsa.language.ngram import NgramLm
from hainan_k2.fsa.language.pruning import prune
from hainan_k2.fsa.language.scorers import score_sentences
from hainan_k2.fsa.language.spelling import UNKNOWN
from hainan_k2.result import WORD_START

Encode = Callable[[str], list[int]]
_ROOT = 0


@dataclass(frozen=True, eq=False)
class LookaheadLm:
    """The automaton: P nodes, E edges, V tokens. Scores are natural logarithms, float64. It is a Scorer.

    Node 0 is the root. The last node is that of unknown words whose tokens are no prefix of a spelling.

        lm = read_lm("words.arpa", tokenizer.pieces, tokenizer.encode)
        lm.score([tokenizer.encode("new york")])      # (1,): log P(new) + log P(york | new) + log P(</s> | new york)
    """

    lm: NgramLm  # over words
    spellings: Mapping[int, tuple[int, ...]]  # of the words of `lm`
    left_out: tuple[str, ...]  # words of the file without a spelling of their own: they count as unknown
    keys: Tensor  # (E + 1,) int64, ascending: node x V + token of the edge to node 1, 2 ...; the last one is a sentinel
    words: Tensor  # (P,) int64: the word that is spelled there, <unk> if none is
    lengths: Tensor  # (P,) int64: tokens from the root; 0 for the last node
    look: Tensor  # (P,) the look-ahead
    starts_word: Tensor  # (V,) bool

    @classmethod
    def of(
        cls,
        lm: NgramLm,
        unknown_word: int,
        spellings: Mapping[int, tuple[int, ...]],
        pieces: Sequence[str],
        left_out: Sequence[str] = (),
    ) -> LookaheadLm:
        """Of a model over words, the number of its <unk>, and the spellings of its words in tokens, no two alike.

        Args:
          pieces: (V,) the tokens.
        Raises:
          ValueError: if there is no spelling, if one is no word of these tokens, and for a word without probability.
        """
        words = np.fromiter(spellings, np.int64, len(spellings))
        starts = np.array([piece.startswith(WORD_START) for piece in pieces])
        ids = _padded(list(spellings.values()))
        wrong = ~_are_words(ids, starts) | (words < 0) | (words >= lm.num_words)
        if wrong.any():
            word = int(words[wrong][0])
            raise ValueError(f"word {word} is spelled {spellings[word]}: this is no word of the {len(pieces)} tokens")
        if not len(words):
            raise ValueError("it has no word that the tokenizer can spell")
        unigrams = lm.log_probs[torch.from_numpy(words)].double().numpy()
        if unigrams.min() == -math.inf:
            raise ValueError("it has words without a unigram probability")
        if lm.log_probs[unknown_word].isinf():
            log_probs = lm.log_probs.clone()
            log_probs[unknown_word] = float(unigrams.min())
            lm = replace(lm, log_probs=log_probs)

        node, size = np.full(len(words), _ROOT), 1  # of the prefix of each word, level by level
        keys, lengths, look = [], [np.zeros(1, np.int64)], [np.zeros(1)]
        for length, column in enumerate(ids.T, 1):
            (rows,) = (column >= 0).nonzero()
            edges, edge = np.unique(node[rows] * len(pieces) + column[rows], return_inverse=True)
            best = np.full(len(edges), -math.inf)
            np.maximum.at(best, edge, unigrams[rows])
            node[rows] = size + edge
            size += len(edges)
            keys.append(edges)
            lengths.append(np.full(len(edges), length))
            look.append(best)
        if len(np.unique(node)) < len(node):
            raise ValueError("it has two words that are spelled alike")
        spelled = np.full(size + 1, unknown_word)
        spelled[node] = words
        return cls(
            lm,
            dict(spellings),
            tuple(left_out),
            torch.from_numpy(np.append(np.concatenate(keys), np.iinfo(np.int64).max)),
            torch.from_numpy(spelled),
            torch.from_numpy(np.append(np.concatenate(lengths), 0)),
            torch.from_numpy(np.append(np.concatenate(look), 0.0)),
            torch.from_numpy(starts),
        )

    @property
    def vocab_size(self) -> int:
        """V, blank included."""
        return len(self.starts_word)

    @property
    def start(self) -> int:
        """The state after <s>."""
        return self.lm.start * len(self.words)

    @property
    def num_states(self) -> int:
        """The number of pairs (h, p)."""
        return self.lm.num_states * len(self.words)

    @property
    def num_arcs(self) -> int:
        """The number of n-grams."""
        return self.lm.num_arcs

    def to(self, device: torch.device | str) -> LookaheadLm:
        """The same model on `device`."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: dict[str, Any] = {n: v.to(device) for n, v in values.items() if isinstance(v, (Tensor, NgramLm))}
        return replace(self, **moved)

    def pruned(self, num_ngrams: int) -> LookaheadLm:
        """The same with `num_ngrams` n-grams at most; ValueError as `prune`. Unigrams, and so the look-ahead, stay."""
        return replace(self, lm=prune(self.lm, num_ngrams))

    def advance(self, states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (N,) float64 of tokens (N,), not blank, in states (N,), and the next states (N,)."""
        score, (history, node) = torch.zeros_like(states, dtype=torch.float64), self._split(states)
        (ending,) = self.starts_word[tokens].nonzero(as_tuple=True)
        ended, after = self._end_word(history[ending], node[ending])
        score, history = score.index_copy(0, ending, ended), history.index_copy(0, ending, after)
        node = node.index_fill(0, ending, _ROOT)
        key = node * self.vocab_size + tokens
        edge = torch.searchsorted(self.keys, key)
        known, last = self.keys[edge] == key, len(self.words) - 1
        target = torch.where(known, edge + 1, torch.full_like(edge, last))
        ahead = torch.where(known, self.look[target], self._cost * (self.lengths[node] + 1))
        return score + ahead - self.look[node], history * len(self.words) + target

    def final(self, states: Tensor) -> Tensor:
        """Scores (N,) float64 of the end of the sentence in states (N,)."""
        ended, history = self._end_word(*self._split(states))
        return ended + self.lm.final(history)

    def score(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """(N,) float64 log-probabilities of N token sequences as sentences, from <s> to </s>."""
        return score_sentences(self, sequences, self.keys.device)

    @property
    def _cost(self) -> float:
        """The score of a token of an unknown word."""
        return -math.log(max(self.vocab_size - 1, 1))

    def _split(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Histories and nodes (N,)."""
        return torch.div(states, len(self.words), rounding_mode="floor"), states % len(self.words)

    def _end_word(self, history: Tensor, node: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (N,) of the end of the words at nodes (N,) after histories (N,), and the next histories.

        Nothing ends at the root, where no word has begun.
        """
        word, begun = self.words[node], node != _ROOT
        log_prob, after = self.lm.follow(history, word)
        cost = torch.where(word == self.words[-1], self._cost * self.lengths[node], torch.zeros_like(self.look[node]))
        score = torch.where(begun, log_prob + cost - self.look[node], torch.zeros_like(cost))
        return score, torch.where(begun, after, history)


def _padded(spellings: Sequence[Sequence[int]]) -> np.ndarray:
    """(W, longest) int64 token ids, -1 behind the last."""
    lengths = np.array([len(ids) for ids in spellings], np.int64)
    table = np.full((len(lengths), max(lengths, default=0)), -1)
    table[np.arange(table.shape[1]) < lengths[:, None]] = [id for ids in spellings for id in ids]
    return table


def _are_words(ids: np.ndarray, starts_word: np.ndarray) -> np.ndarray:
    """(W,) whether each row of ids (W, L), -1 behind the last, is one word: its first token alone starts a word."""
    used = np.arange(ids.shape[1]) < np.count_nonzero(ids != -1, axis=1)[:, None]
    inside = (ids > BLANK) & (ids < len(starts_word))
    wanted = np.arange(ids.shape[1]) == 0
    good = inside & (starts_word[np.where(inside, ids, 0)] == wanted)
    return np.asarray(used.any(axis=1) & (good | ~used).all(axis=1))


def spell_words(
    words: Mapping[int, str], log_probs: Sequence[float], pieces: Sequence[str], encode: Encode
) -> tuple[dict[int, tuple[int, ...]], list[str]]:
    """The spellings of words by number, and the words that have none of their own.

    These are words that the tokenizer cannot spell, that are several words in its normal form, or that are spelled as a
    more probable one.
    """
    starts = np.array([piece.startswith(WORD_START) for piece in pieces])
    numbers = sorted(words, key=lambda word: -log_probs[word])
    spelled = [tuple(encode(words[number])) for number in numbers]
    owners: dict[tuple[int, ...], int] = {}
    for number, ids, one in zip(numbers, spelled, _are_words(_padded(spelled), starts)):
        if one and all(pieces[id] != UNKNOWN for id in ids):
            owners.setdefault(ids, number)
    spellings = {number: ids for ids, number in owners.items()}
    return spellings, [text for number, text in words.items() if number not in spellings]
