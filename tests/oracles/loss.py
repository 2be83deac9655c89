"""References of the losses: float64, plain loops, no code shared with hainan_k2.

A path is a list of arcs (t, u, token, i): from state (t, u), token 0 is a blank, i is the index of its
duration.
"""

from __future__ import annotations

import math

import numpy as np
import torch


def log_softmax(x):
    x = np.asarray(x, dtype=np.float64)
    m = x.max(-1, keepdims=True)
    return x - m - np.log(np.exp(x - m).sum(-1, keepdims=True))


def enumerate_paths(num_frames, labels, durations, band=None):
    """All paths of one utterance, or those through states of `band` (bounds (T,), S) only."""

    def inside(t, u):
        return band is None or band[0][t] <= u < band[0][t] + band[1]

    def extend(t, u, path):
        for i, d in enumerate(durations):
            if u < len(labels) and t + d < num_frames and inside(t + d, u + 1):
                yield from extend(t + d, u + 1, [*path, (t, u, labels[u], i)])
            if d > 0 and t + d < num_frames and inside(t + d, u):
                yield from extend(t + d, u, [*path, (t, u, 0, i)])
            if d > 0 and t + d == num_frames and u == len(labels):
                yield [*path, (t, u, 0, i)]

    if num_frames > 0 and inside(0, 0):
        yield from extend(0, 0, [])


def brute_force(logits, labels, durations, sigma=0.0, band=None, zero_penalty=0.0):
    """Loss of one utterance and its gradient, path by path.

    Args:
      logits: (T, U + 1, V + D) raw; only states of the band are read.

    Returns:
      (nll, gradient (T, U + 1, V + D)): (inf, zeros) if there is no path.
    """
    logits = np.asarray(logits, dtype=np.float64)
    vocab_size = logits.shape[-1] - len(durations)
    tokens, steps = log_softmax(logits[..., :vocab_size]), log_softmax(logits[..., vocab_size:])
    paid = [zero_penalty if d == 0 else 0.0 for d in durations]
    paths = list(enumerate_paths(logits.shape[0], labels, durations, band))
    gradient = np.zeros_like(logits)
    if not paths:
        return math.inf, gradient
    scores = [sum(tokens[t, u, v] - sigma + steps[t, u, i] - paid[i] for t, u, v, i in path) for path in paths]
    highest = max(scores)
    total = highest + math.log(sum(math.exp(s - highest) for s in scores))
    for path, score in zip(paths, scores):
        posterior = math.exp(score - total)
        for t, u, v, i in path:
            gradient[t, u, :vocab_size] += posterior * np.exp(tokens[t, u])
            gradient[t, u, v] -= posterior
            gradient[t, u, vocab_size:] += posterior * np.exp(steps[t, u])
            gradient[t, u, vocab_size + i] -= posterior
    return -total, gradient


def dynamic_programming(logits, labels, durations, sigma=0.0):
    """Loss of one utterance by dynamic programming; with durations None that of RNN-T (no duration channels).

    Args:
      logits: (T, U + 1, V + D).
    """
    logits = np.asarray(logits, dtype=np.float64)
    num_frames, num_labels = logits.shape[0], len(labels)
    rnnt = durations is None
    vocab_size = logits.shape[-1] - (0 if rnnt else len(durations))
    tokens = log_softmax(logits[..., :vocab_size]) - sigma
    steps = np.zeros((*logits.shape[:-1], 1)) if rnnt else log_softmax(logits[..., vocab_size:])
    blanks = [(1, 0)] if rnnt else [(d, i) for i, d in enumerate(durations) if d > 0]
    emits = [(0, 0)] if rnnt else [(d, i) for i, d in enumerate(durations)]
    alpha = np.full((num_frames + 1, num_labels + 1), -math.inf)
    alpha[0, 0] = 0.0
    for t in range(num_frames + 1):
        for u in range(num_labels + 1):
            if (t, u) == (0, 0) or (t == num_frames and u < num_labels):
                continue
            arriving = [alpha[t - d, u] + tokens[t - d, u, 0] + steps[t - d, u, i] for d, i in blanks if d <= t]
            if u > 0 and t < num_frames:
                arriving += [
                    alpha[t - d, u - 1] + tokens[t - d, u - 1, labels[u - 1]] + steps[t - d, u - 1, i]
                    for d, i in emits
                    if d <= t
                ]
            alpha[t, u] = np.logaddexp.reduce(arriving) if arriving else -math.inf
    return -alpha[num_frames, num_labels]


def rnnt_paths(num_frames, labels, band):
    """All RNN-T paths of one utterance through states of `band` (bounds (T,), S): lists of (t, u, token)."""

    def extend(t, u, path):
        if t == num_frames:
            yield from [path] if u == len(labels) else []
        elif band[0][t] <= u < band[0][t] + band[1]:
            yield from extend(t + 1, u, [*path, (t, u, 0)])
            if u < len(labels):
                yield from extend(t, u + 1, [*path, (t, u, labels[u])])

    yield from extend(0, 0, [])


def rnnt_brute_force(logits, labels, sigma, band):
    """RNN-T loss of one utterance and its gradient inside a band, path by path.

    Args:
      logits: (T, U + 1, V) raw; only states of the band are read.

    Returns:
      (nll, gradient (T, U + 1, V)): (inf, zeros) if there is no path.
    """
    tokens = log_softmax(logits)
    paths = list(rnnt_paths(len(tokens), labels, band))
    gradient = np.zeros_like(tokens)
    if not paths:
        return math.inf, gradient
    scores = [sum(tokens[state] - sigma for state in path) for path in paths]
    total = np.logaddexp.reduce(scores)
    for path, score in zip(paths, scores):
        for t, u, v in path:
            gradient[t, u] += math.exp(score - total) * np.exp(tokens[t, u])
            gradient[t, u, v] -= math.exp(score - total)
    return -total, gradient


def num_errors(a, b):
    """Levenshtein distance of two sequences."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


def rnnt_occupancy(logits, labels):
    """(T, U + 1) probability that an RNN-T path comes through each state, from token logits (T, U + 1, V)."""
    tokens = log_softmax(logits)
    num_frames, num_positions = tokens.shape[:2]
    alpha = np.full((num_frames, num_positions), -math.inf)
    beta = np.full((num_frames, num_positions), -math.inf)
    for t in range(num_frames):
        for u in range(num_positions):
            arriving = [0.0] if t == u == 0 else []
            arriving += [alpha[t - 1, u] + tokens[t - 1, u, 0]] if t > 0 else []
            arriving += [alpha[t, u - 1] + tokens[t, u - 1, labels[u - 1]]] if u > 0 else []
            alpha[t, u] = np.logaddexp.reduce(arriving)
    for t in reversed(range(num_frames)):
        for u in reversed(range(num_positions)):
            last = t == num_frames - 1 and u == num_positions - 1
            leaving = [tokens[t, u, 0]] if last else []
            leaving += [tokens[t, u, 0] + beta[t + 1, u]] if t + 1 < num_frames else []
            leaving += [tokens[t, u, labels[u]] + beta[t, u + 1]] if u + 1 < num_positions else []
            beta[t, u] = np.logaddexp.reduce(leaving)
    return np.exp(alpha + beta - beta[0, 0])


def rnnt_prune_bounds(am, lm, targets, frame_lens, target_lens, num_durations, band):
    """Bounds as RNN-T chooses them, from RNN-T occupancies of the additive joint's token head.

    For comparison only: durations let TDT paths run elsewhere. Arguments as of hainan_k2.fsa.tdt_loss_simple.
    """
    from hainan_k2.fsa import tdt_prune_bounds

    occupancy = torch.zeros(am.size(0), am.size(1), lm.size(1), dtype=torch.float64)
    for b, (frames, labels) in enumerate(zip(frame_lens.tolist(), target_lens.tolist())):
        logits = (am[b, :frames, None] + lm[b, None, : labels + 1]).detach()[..., : am.size(2) - num_durations]
        occupancy[b, :frames, : labels + 1] = torch.from_numpy(
            rnnt_occupancy(logits.double().numpy(), targets[b, :labels].tolist())
        )
    return tdt_prune_bounds(occupancy, frame_lens, target_lens, (0, 1), band)
