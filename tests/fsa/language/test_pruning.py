"""Entropy pruning against dictionaries, sums over all words, and a Markov chain with one state per history."""

import math
from itertools import product

import numpy as np
import pytest

from hainan_k2.fsa.language.ngram import NgramLm
from hainan_k2.fsa.language.pruning import divergences, prune
from tests.oracles.lm import SYMBOLS, WORDS, DictionaryLm, small_lm

VOCABULARY = [*SYMBOLS, "<s>", "</s>"]


def read(lm, tmp_path):
    return NgramLm.read(lm.write(tmp_path / "lm.arpa"), SYMBOLS)


def state_of(lm, history):
    """The state of an automaton after the words of a history, from the empty one."""
    state = lm.keys.new_zeros(1)
    for word in history:
        _, state = lm.follow(state, state.new_tensor([VOCABULARY.index(word)]))
    return int(state)


def history_frequencies(lm):
    """{history: how often the words before a word end with it}, of sentences that the model makes, one after another.

    The longest histories are the states of a Markov chain, whose stationary distribution is an eigenvector.
    """
    kept = lm.order - 1
    words = [w for w in SYMBOLS[1:] if (w,) in lm.ngrams]
    histories = [("<s>", *h) for n in range(kept) for h in product(words, repeat=n)]
    histories += list(product(words, repeat=kept))
    index = {history: i for i, history in enumerate(histories)}
    moves = np.zeros((len(histories), len(histories)))
    for history, i in index.items():
        for word in [*words, "</s>"]:
            following = ("<s>",) if word == "</s>" else (*history, word)
            moves[i, index[following[max(0, len(following) - kept) :]]] += math.exp(lm.log_prob(history, word))
    values, vectors = np.linalg.eig(moves.T)
    stationary = np.real(vectors[:, np.argmax(np.real(values))])
    stationary /= stationary.sum()
    return lambda wanted: sum(
        mass for history, mass in zip(histories, stationary) if history[len(history) - len(wanted) :] == wanted
    )


def divergence(lm, ngram, frequency):
    """The relative entropy that removing an n-gram costs, by sums over all words; the weight of its history changes."""
    history = ngram[:-1]
    explicit = [w for w in WORDS if (*history, w) in lm.ngrams and w != ngram[-1]]
    taken = sum(math.exp(lm.log_prob(history, w)) for w in explicit)
    below = sum(math.exp(lm.log_prob(history[1:], w)) for w in explicit)
    weight = (1 - taken) / (1 - below)
    total = 0.0
    for w in WORDS:
        before = lm.log_prob(history, w)
        after = before if w in explicit else math.log(weight) + lm.log_prob(history[1:], w)
        total += math.exp(before) * (before - after)
    return frequency(history) * total


@pytest.mark.parametrize("seed", range(6))
def test_divergences_are_those_of_sums_over_all_words(seed, tmp_path):
    dictionary = small_lm(seed, order=2 + seed % 2)
    lm = read(dictionary, tmp_path)
    frequency, found = history_frequencies(dictionary), divergences(lm)
    keys, compared = lm.keys.tolist(), 0
    for ngram in dictionary.ngrams:
        if len(ngram) > 1:
            arc = keys.index(state_of(lm, ngram[:-1]) * lm.num_words + VOCABULARY.index(ngram[-1]))
            assert found[arc] == pytest.approx(divergence(dictionary, ngram, frequency), rel=1e-3, abs=1e-6)
            compared += 1
    assert np.isinf(found).sum() == lm.num_words and compared == lm.num_arcs - lm.num_words > 3


@pytest.mark.parametrize("seed", range(6))
def test_what_is_kept_is_unchanged_and_every_history_adds_up(seed, tmp_path):
    dictionary = small_lm(seed, order=4)
    lm = read(dictionary, tmp_path)
    wanted = lm.num_words + (lm.num_arcs - lm.num_words) // 2
    pruned = prune(lm, wanted)
    assert lm.num_words < pruned.num_arcs <= wanted
    kept = {}
    for ngram in dictionary.ngrams:
        state = state_of(pruned, ngram[:-1])
        key = state * pruned.num_words + VOCABULARY.index(ngram[-1])
        long_enough = len(ngram) == 1 or state != state_of(pruned, ngram[1:-1])
        kept[ngram] = long_enough and key in pruned.keys.tolist()
        if kept[ngram]:
            arc = pruned.keys.tolist().index(key)
            assert float(pruned.log_probs[arc]) == pytest.approx(dictionary.log_prob(ngram[:-1], ngram[-1]), abs=1e-4)
    absent = [word for word in VOCABULARY if (word,) not in dictionary.ngrams]  # their arcs have probability 0
    assert sum(kept.values()) == pruned.num_arcs - len(absent)
    assert all(kept[ngram[:-1]] for ngram, stays in kept.items() if stays and len(ngram) > 1)
    for state in range(pruned.num_states):
        states = pruned.keys.new_full((len(WORDS),), state)
        log_probs, _ = pruned.follow(states, states.new_tensor([VOCABULARY.index(w) for w in WORDS]))
        assert float(log_probs.double().exp().sum()) == pytest.approx(1.0, abs=1e-5)


def test_the_n_grams_that_matter_least_go_first(tmp_path):
    dictionary = small_lm(3, order=2)
    lm = read(dictionary, tmp_path)
    found = np.sort(divergences(lm)[np.isfinite(divergences(lm))])
    for removed in range(1, len(found)):
        pruned = prune(lm, lm.num_arcs - removed)
        assert pruned.num_arcs == lm.num_arcs - removed
        expected = np.sort(lm.log_probs[:-1].numpy()[divergences(lm) > found[removed - 1]])
        np.testing.assert_array_equal(np.sort(pruned.log_probs[:-1].numpy()), expected)


def test_down_to_unigrams_and_not_below(tmp_path):
    dictionary = small_lm(1)
    lm = read(dictionary, tmp_path)
    assert prune(lm, lm.num_arcs) is lm
    unigrams = prune(lm, lm.num_words)
    assert unigrams.num_states == 1 and unigrams.start == 0
    alone = DictionaryLm({ngram: (p, 0.0) for ngram, (p, _) in dictionary.ngrams.items() if len(ngram) == 1})
    ids = [2, 3, 4, 2]
    assert float(unigrams.score([ids])) == pytest.approx(alone.score([SYMBOLS[i] for i in ids]), abs=1e-4)
    with pytest.raises(ValueError, match=f"3 n-grams: the model has {lm.num_words} unigrams"):
        prune(lm, 3)
