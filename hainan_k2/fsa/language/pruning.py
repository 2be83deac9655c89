"""Entropy pruning of back-off n-gram models (Stolcke, "Entropy-based pruning of backoff language models", 1998).

An n-gram h w is removed if the model hardly changes. The relative entropy of the model without it to the model with it,
where h' is the history that h backs off to, is

    D(h w) = -P(h) [ P(w | h) (log P(w | h') + log a' - log P(w | h)) + (1 - sum_v P(v | h)) (log a' - log a) ]
    a' = (1 - sum_v P(v | h) + P(w | h)) / (1 - sum_v P(v | h') + P(w | h')),     sums over the n-grams h v,

with a and a' the back-off weights of h before and after. Every D is computed on the unpruned model. N-grams with the
smallest D go first, except those that longer ones begin with; unigrams stay. Then all back-off weights are computed
anew, so that the probabilities after each history add up to 1.

P(h) is how often the model itself is at the history h when it generates sentences. The usual product of P(w | ...)
over the words of h is wrong for Kneser-Ney models, whose low orders count contexts and not occurrences (Chelba et al.,
"Study on interaction between entropy pruning and Kneser-Ney smoothing", 2010).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from hainan_k2.fsa.language.ngram import NgramLm

_ROUNDS = 200  # of the iteration for P(h) at most; sentences forget their beginning much faster
_SMALLEST = 1e-9  # a mass below this is a rounding error


def prune(lm: NgramLm, num_ngrams: int) -> NgramLm:
    """The model with `num_ngrams` n-grams at most, on the CPU. Equally good ones are kept or removed together.

    Raises:
      ValueError: where so few n-grams do not even have room for the unigrams.
    """
    if num_ngrams < lm.num_words:
        raise ValueError(f"{num_ngrams} n-grams: the model has {lm.num_words} unigrams, which are always kept")
    if lm.num_arcs <= num_ngrams:
        return lm
    tree, divergence = _Tree.of(lm), divergences(lm)
    limits = np.append(np.unique(divergence[np.isfinite(divergence)]), np.inf)
    low, high = -1, len(limits) - 1  # the answer is in (low, high]; at -1 everything is kept
    while high - low > 1:
        middle = (low + high) // 2
        if tree.kept(divergence > limits[middle]).sum() <= num_ngrams:
            high = middle
        else:
            low = middle
    return _renormalised(_without(lm, tree, tree.kept(divergence > limits[high])))


def divergences(lm: NgramLm) -> np.ndarray:
    """(A,) relative entropy D, in nats, that removing each n-gram costs; infinite for unigrams."""
    source = _sources(lm)
    frequency = _frequencies(lm)
    above = source > 0
    states = source[above]
    given = np.exp(lm.log_probs[:-1].double().numpy()[above])
    lower = _lower_probs(lm, source)[above]
    left = np.maximum(1 - np.bincount(states, given, lm.num_states), _SMALLEST)
    free = np.maximum(1 - np.bincount(states, lower, lm.num_states), _SMALLEST)
    before = np.log(left / free)[states]
    after = np.log((left[states] + given) / (free[states] + lower))
    tiny = np.finfo(float).tiny
    change = np.log(np.maximum(lower, tiny)) + after - np.log(np.maximum(given, tiny))
    divergence = np.full(len(source), np.inf)
    divergence[above] = -frequency[states] * (given * change + left[states] * (after - before))
    return divergence


def state_frequencies(lm: NgramLm) -> np.ndarray:
    """(S,) how often the model is in each state, a fraction of all tokens, when it generates sentence after sentence.

    The words that back off from a state are not looped over. All mass that is in a state, or backs off to it, leaves by
    the state's arcs, except for the words that a longer history has an arc for.
    """
    source, depths = _sources(lm), state_depths(lm)
    given = np.exp(lm.log_probs[:-1].double().numpy())
    target = np.where(_words(lm) == lm.end_word, lm.start, lm.next_states[:-1].numpy())
    backoff, weight = lm.backoff_states.numpy(), np.exp(lm.backoff_log_probs.double().numpy())
    above = source > 0
    lower_arc, paid = lm.find(torch.from_numpy(backoff[source[above]]), torch.from_numpy(_words(lm)[above]))
    chain = weight[source[above]] * (1.0 if paid is None else np.exp(paid.double().numpy()))
    levels = [np.flatnonzero(depths == depth) for depth in range(depths.max(), 0, -1)]
    mass = np.zeros(lm.num_states)
    mass[lm.start] = 1.0
    for _ in range(_ROUNDS):
        passing = mass.copy()
        for level in levels:
            np.add.at(passing, backoff[level], passing[level] * weight[level])
        taken = np.bincount(lower_arc.numpy(), passing[source[above]] * chain, len(source))
        moved = np.bincount(target, given * np.maximum(passing[source] - taken, 0.0), lm.num_states)
        before, mass = mass, np.asarray(moved / moved.sum(), np.float64)
        change = np.abs(mass - before).sum()
        if change < _SMALLEST:
            break
    return mass


def state_depths(lm: NgramLm) -> np.ndarray:
    """(S,) the number of words of each state's history."""
    source, target = _sources(lm), lm.next_states[:-1].numpy()
    depths = np.full(lm.num_states, lm.order)
    depths[0] = 0
    for _ in range(lm.order):
        np.minimum.at(depths, target, depths[source] + 1)
        depths[0] = 0
    return depths


def _frequencies(lm: NgramLm) -> np.ndarray:
    """(S,) P(h): how often a history ends with that of each state."""
    frequency, depths = state_frequencies(lm), state_depths(lm)
    for depth in range(depths.max(), 0, -1):
        level = np.flatnonzero(depths == depth)
        np.add.at(frequency, lm.backoff_states.numpy()[level], frequency[level])
    return frequency


@dataclass(frozen=True)
class _Tree:
    """Which n-grams are histories of longer ones: of each depth the arcs from there, and the state that each arc's own
    n-gram is, or -1."""

    levels: tuple[np.ndarray, ...]
    own_state: np.ndarray
    source: np.ndarray
    num_states: int

    @classmethod
    def of(cls, lm: NgramLm) -> _Tree:
        source, depths = _sources(lm), state_depths(lm)
        target = lm.next_states[:-1].numpy()
        own_state = np.where(depths[target] == depths[source] + 1, target, -1)
        levels = tuple(np.flatnonzero(depths[source] == depth) for depth in range(depths.max(), -1, -1))
        return cls(levels, own_state, source, lm.num_states)

    def kept(self, wanted: np.ndarray) -> np.ndarray:
        """(A,) the arcs that are wanted, and those whose n-gram is the history of one that is kept."""
        kept, has_arcs = wanted.copy(), np.zeros(self.num_states, bool)
        for level in self.levels:
            own = self.own_state[level]
            kept[level] |= (own >= 0) & has_arcs[own]
            has_arcs[self.source[level[kept[level]]]] = True
        return kept


def _without(lm: NgramLm, tree: _Tree, kept: np.ndarray) -> NgramLm:
    """The model of these arcs. A state without arcs is replaced by the one that it backs off to."""
    has_arcs = np.bincount(tree.source[kept], minlength=lm.num_states) > 0
    heir, backoff = np.arange(lm.num_states), lm.backoff_states.numpy()
    for _ in range(lm.order):
        heir = np.where(has_arcs[heir], heir, backoff[heir])
    number = np.cumsum(has_arcs) - 1
    renamed = number[heir]
    ends, stays = torch.from_numpy(np.append(kept, True)), torch.from_numpy(has_arcs)
    keys = number[tree.source[kept]] * lm.num_words + _words(lm)[kept]
    return replace(
        lm,
        start=int(renamed[lm.start]),
        keys=torch.from_numpy(np.append(keys, np.iinfo(np.int64).max)),
        log_probs=lm.log_probs[ends],
        next_states=torch.from_numpy(renamed)[lm.next_states][ends],
        backoff_log_probs=lm.backoff_log_probs[stays],
        backoff_states=torch.from_numpy(renamed[backoff[has_arcs]]),
    )


def _renormalised(lm: NgramLm) -> NgramLm:
    """The model with back-off weights that make the probabilities of every state add up to 1."""
    source, depths = _sources(lm), state_depths(lm)
    given = np.exp(lm.log_probs[:-1].double().numpy())
    left = 1 - np.bincount(source, given, lm.num_states)
    for depth in range(1, depths.max() + 1):
        arcs = depths[source] == depth
        free = 1 - np.bincount(source[arcs], _lower_probs(lm, source)[arcs], lm.num_states)
        level = depths == depth
        weights = lm.backoff_log_probs.clone()
        ratio = np.maximum(left[level], _SMALLEST) / np.maximum(free[level], _SMALLEST)
        weights[torch.from_numpy(level)] = torch.from_numpy(np.log(ratio)).float()
        lm = replace(lm, backoff_log_probs=weights)
    return lm


def _sources(lm: NgramLm) -> np.ndarray:
    """(A,) the state that each arc leaves."""
    return np.asarray(lm.keys[:-1].numpy() // lm.num_words)


def _words(lm: NgramLm) -> np.ndarray:
    """(A,) the word of each arc."""
    return np.asarray(lm.keys[:-1].numpy() % lm.num_words)


def _lower_probs(lm: NgramLm, source: np.ndarray) -> np.ndarray:
    """(A,) the probability of each arc's word in the state that the arc's state backs off to."""
    log_probs, _ = lm.follow(lm.backoff_states[torch.from_numpy(source)], torch.from_numpy(_words(lm)))
    return np.asarray(np.exp(log_probs.double().numpy()))
