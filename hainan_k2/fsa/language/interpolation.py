"""Static interpolation of back-off language models: one ARPA file that says what a weighted mean of several would.

For every n-gram h w of any of the models   P(w | h) = sum_i weight_i P_i(w | h),
each P_i(w | h) with its own back-off. Weights of back-off follow from the probabilities of a history adding up to 1,

    backoff(h) = (1 - sum P(w | h)) / (1 - sum P(w | h')),   the sums over the w that follow h, h' = h without its
                                                             first word.
What no n-gram says is then not quite the weighted mean, as in every static interpolation of back-off models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TextIO

import numpy as np
import torch

from hainan_k2.fsa.language.arpa import Ngrams
from hainan_k2.fsa.language.ngram import NgramLm

NEVER = -99.0 * math.log(10.0)  # what ARPA files write for the probability of <s>


def interpolate(
    models: Sequence[NgramLm], sections: Sequence[Sequence[Ngrams]], weights: Sequence[float]
) -> list[Ngrams]:
    """The n-grams of the interpolation, by order, with back-off weights; `lines` are 0.

    Args:
      models, sections: of each file, NgramLm.read and read_arpa with the same symbols.
      weights: of each, positive, adding up to 1.
    Raises:
      ValueError: for other weights, or an n-gram whose last words are no n-gram of the union.
    """
    if len(models) != len(weights) or min(weights) <= 0 or abs(sum(weights) - 1) > 1e-6:
        raise ValueError(f"weights {list(weights)} should be {len(models)} positive numbers that add up to 1")
    start_word = models[0].end_word - 1  # NgramLm numbers <s>, </s> next to each other
    found: list[Ngrams] = []
    for n in range(1, max(map(len, sections)) + 1):
        words = np.unique(np.concatenate([s[n - 1].words for s in sections if len(s) >= n]), axis=0)
        log_probs = mixture(models, words, np.log(weights))
        log_probs[words[:, -1] == start_word] = NEVER
        empty = np.full(len(words), np.nan)
        found.append(Ngrams(words, log_probs, empty, np.zeros(len(words), np.int64)))
    for n in range(len(found) - 1):
        found[n] = _with_backoffs(found, n, models[0].num_words)
    return found


def mixture(models: Sequence[NgramLm], words: np.ndarray, log_weights: np.ndarray) -> np.ndarray:
    """(N,) log of the weighted mean of every model's P(last word | the words before it), words (N, n)."""
    return np.logaddexp.reduce([np.float64(w) + last_word(m, words) for m, w in zip(models, log_weights)], axis=0)


def last_word(model: NgramLm, words: np.ndarray) -> np.ndarray:
    """(N,) log P(last word | the words before it) of words (N, n), word ids as in NgramLm's arcs."""
    table = torch.from_numpy(words)
    states = torch.zeros(len(table), dtype=torch.int64)
    for column in table.T[:-1]:
        _, states = model.follow(states, column)
    log_probs, _ = model.follow(states, table[:, -1])
    return log_probs.double().numpy()


def _with_backoffs(found: Sequence[Ngrams], n: int, num_words: int) -> Ngrams:
    """The n-grams of order n + 1 with the back-off weights that those of order n + 2 leave them."""
    here, longer = found[n], found[n + 1]
    history = _find(here.words, longer.words[:, :-1], num_words)
    shorter = _find(here.words, longer.words[:, 1:], num_words)
    taken, below = np.zeros(len(here.words)), np.zeros(len(here.words))
    np.add.at(taken, history, np.exp(longer.log_probs))
    np.add.at(below, history, np.exp(here.log_probs[shorter]))
    left, free = 1.0 - taken, 1.0 - below
    backoffs = np.full(len(here.words), np.nan)
    begins = np.isin(np.arange(len(here.words)), history)
    # A history that (nearly) every word follows leaves nothing but rounding errors to divide.
    usual = (left > 1e-9) & (free > 1e-9)
    backoffs[begins] = np.log(np.where(usual, left / np.where(usual, free, 1.0), 1e-9))[begins]
    return Ngrams(here.words, here.log_probs, backoffs, here.lines)


def _find(table: np.ndarray, rows: np.ndarray, num_words: int) -> np.ndarray:
    """(N,) where rows (N, n) stand in the sorted table (M, n); ValueError about the first that does not."""
    both = np.concatenate([table, rows])
    _, number = np.unique(both, axis=0, return_inverse=True)
    number = number.reshape(-1)
    at = np.full(number.max() + 1, -1)
    at[number[: len(table)]] = np.arange(len(table))
    found = at[number[len(table) :]]
    if (found < 0).any():
        words = rows[found < 0][0].tolist()
        raise ValueError(f"the words {words} are part of a longer n-gram, but no n-gram themselves")
    return found


def write_arpa(stream: TextIO, sections: Sequence[Ngrams], symbols: Sequence[str]) -> None:
    """Write n-grams, words being indices of `symbols`."""
    log10 = math.log(10.0)
    stream.write("\\data\\\n" + "".join(f"ngram {n}={len(s.words)}\n" for n, s in enumerate(sections, 1)))
    for n, section in enumerate(sections, 1):
        stream.write(f"\n\\{n}-grams:\n")
        for words, log_prob, backoff in zip(section.words, section.log_probs / log10, section.backoffs / log10):
            weight = "" if math.isnan(backoff) else f"\t{backoff:.6f}"
            stream.write(f"{log_prob:.6f}\t{' '.join(symbols[w] for w in words)}{weight}\n")
    stream.write("\n\\end\\\n")


def tune_weights(models: Sequence[NgramLm], sentences: Sequence[Sequence[int]], rounds: int = 30) -> np.ndarray:
    """(M,) weights under which the sentences (token ids) are most probable, by expectation maximisation."""
    log_probs = np.stack([_token_log_probs(model, sentences) for model in models])  # (M, N)
    weights = np.full(len(models), 1.0 / len(models))
    for _ in range(rounds):
        joint = log_probs + np.log(weights)[:, None]
        weights = np.exp(joint - np.logaddexp.reduce(joint, axis=0)).mean(axis=1)
    return weights / weights.sum()


def _token_log_probs(model: NgramLm, sentences: Sequence[Sequence[int]]) -> np.ndarray:
    """Of every token of every sentence, its end included."""
    found = []
    for sentence in sentences:
        states = torch.tensor([model.start])
        for token in sentence:
            log_prob, states = model.advance(states, torch.tensor([token]))
            found.append(float(log_prob))
        found.append(float(model.final(states)))
    return np.array(found)
