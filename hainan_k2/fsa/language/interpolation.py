"""Static interpolation: one back-off n-gram model that approximates a weighted mean of several.

For every n-gram h w of any of the models   P(w | h) = sum_i weight_i P_i(w | h),
where P_i backs off if model i lacks h w. The back-off weights make the probabilities of each history add up to 1,

    backoff(h) = (1 - sum P(w | h)) / (1 - sum P(w | h')),   the sums over the w that follow h, h' = h without its
                                                             first word.
For words without an n-gram after h the result is only close to the weighted mean, as in any static interpolation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from hainan_k2.fsa.language.arpa import Ngrams
from hainan_k2.fsa.language.ngram import NgramLm

NEVER = -99.0 * math.log(10.0)  # what ARPA files write for the probability of <s>


def interpolate(
    models: Sequence[NgramLm], sections: Sequence[Sequence[Ngrams]], weights: Sequence[float]
) -> list[Ngrams]:
    """The n-grams of the interpolated model, one Ngrams per order, with back-off weights; their `lines` are 0.

    Args:
      models, sections: of each ARPA file, the results of NgramLm.read and read_arpa for the same symbols.
      weights: one per model, positive, with sum 1.
    Raises:
      ValueError: for other weights, and for an n-gram without its suffix among the n-grams of any model.
    """
    if len(models) != len(weights) or min(weights) <= 0 or abs(sum(weights) - 1) > 1e-6:
        raise ValueError(f"weights {list(weights)} should be {len(models)} positive numbers that add up to 1")
    start_word = models[0].end_word - 1  # NgramLm numbers <s>, </s> next to each other
    merged: list[Ngrams] = []
    for n in range(1, max(map(len, sections)) + 1):
        words = np.unique(np.concatenate([s[n - 1].words for s in sections if len(s) >= n]), axis=0)
        log_probs = mixture(models, words, np.log(weights))
        log_probs[words[:, -1] == start_word] = NEVER
        empty = np.full(len(words), np.nan)
        merged.append(Ngrams(words, log_probs, empty, np.zeros(len(words), np.int64)))
    for n in range(len(merged) - 1):
        merged[n] = _with_backoffs(merged, n, models[0].num_words)
    return merged


def mixture(models: Sequence[NgramLm], words: np.ndarray, log_weights: np.ndarray) -> np.ndarray:
    """(N,) log of the weighted mean over models of P(last word | the words before it), for words (N, n)."""
    scores = np.stack([np.float64(w) + last_word(m, words) for m, w in zip(models, log_weights)])
    return np.asarray(np.logaddexp.reduce(scores, axis=0))


def last_word(model: NgramLm, words: np.ndarray) -> np.ndarray:
    """(N,) log P(last word | the words before it) for words (N, n), numbered as in NgramLm.follow."""
    table = torch.from_numpy(words)
    states = torch.zeros(len(table), dtype=torch.int64)
    for column in table.T[:-1]:
        _, states = model.follow(states, column)
    log_probs, _ = model.follow(states, table[:, -1])
    return np.asarray(log_probs.double().numpy())


def _with_backoffs(merged: Sequence[Ngrams], n: int, num_words: int) -> Ngrams:
    """The n-grams of order n + 1 with back-off weights, which follow from the n-grams of order n + 2."""
    here, longer = merged[n], merged[n + 1]
    history = _find(here.words, longer.words[:, :-1], num_words)
    shorter = _find(here.words, longer.words[:, 1:], num_words)
    taken, below = np.zeros(len(here.words)), np.zeros(len(here.words))
    np.add.at(taken, history, np.exp(longer.log_probs))
    np.add.at(below, history, np.exp(here.log_probs[shorter]))
    left, free = 1.0 - taken, 1.0 - below
    backoffs = np.full(len(here.words), np.nan)
    begins = np.isin(np.arange(len(here.words)), history)
    # If (nearly) every word follows a history, both terms are only rounding errors.
    usual = (left > 1e-9) & (free > 1e-9)
    backoffs[begins] = np.log(np.where(usual, left / np.where(usual, free, 1.0), 1e-9))[begins]
    return Ngrams(here.words, here.log_probs, backoffs, here.lines)


def _find(table: np.ndarray, rows: np.ndarray, num_words: int) -> np.ndarray:
    """(N,) the row of the table (M, n), distinct and sorted, that equals each of rows (N, n).

    ValueError for a row that is not in the table.
    """
    both = np.concatenate([table, rows])
    _, number = np.unique(both, axis=0, return_inverse=True)
    number = number.reshape(-1)
    at = np.full(number.max() + 1, -1)
    at[number[: len(table)]] = np.arange(len(table))
    indices = at[number[len(table) :]]
    if (indices < 0).any():
        words = rows[indices < 0][0].tolist()
        raise ValueError(f"the words {words} are part of a longer n-gram, but no n-gram themselves")
    return np.asarray(indices)


def tune_weights(models: Sequence[NgramLm], sentences: Sequence[Sequence[int]], rounds: int = 30) -> np.ndarray:
    """(M,) weights of M models that maximise the likelihood of sentences (token ids), by expectation maximisation."""
    log_probs = np.stack([_token_log_probs(model, sentences) for model in models])  # (M, N)
    weights = np.full(len(models), 1.0 / len(models))
    for _ in range(rounds):
        joint = log_probs + np.log(weights)[:, None]
        weights = np.exp(joint - np.logaddexp.reduce(joint, axis=0)).mean(axis=1)
    return np.asarray(weights / weights.sum())


def _token_log_probs(model: NgramLm, sentences: Sequence[Sequence[int]]) -> np.ndarray:
    """(N,) log-probabilities of all tokens of all sentences, and of the ends of sentences."""
    log_probs = []
    for sentence in sentences:
        states = torch.tensor([model.start])
        for token in sentence:
            log_prob, states = model.advance(states, torch.tensor([token]))
            log_probs.append(float(log_prob))
        log_probs.append(float(model.final(states)))
    return np.array(log_probs)
