"""The best path of training lattices against the enumeration of all paths, in float64."""

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.losses.best_path import best_paths
from tests.oracles.loss import enumerate_paths, log_softmax

DURATIONS = ((0, 1, 2, 3, 4, 5, 6, 7, 8), (1, 2, 3, 4, 5, 6, 7, 8), (0, 1, 2, 4, 8), (1, 3), (0, 2))


def state_scores(tokens, durations, labels):
    """The callback of best_paths: log-probabilities (B, T, U + 1, V) and (B, T, U + 1, D), labels (B, U + 1)."""
    rows = torch.arange(len(labels))[:, None]

    def scores(frame, position):
        following = labels.gather(1, position)
        return (
            tokens[rows, frame, position, 0],
            tokens[rows, frame, position, following],
            durations[rows, frame, position],
        )

    return scores


def path_score(path, tokens, durations):
    return sum(tokens[t, u, token] + durations[t, u, i] for t, u, token, i in path)


@st.composite
def utterances(draw):
    lens = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    sizes = [draw(st.integers(0, 3)) for _ in lens]
    return draw(st.integers(0, 10**6)), draw(st.sampled_from(DURATIONS)), lens, sizes


def make(seed, steps, lens, sizes):
    rng = np.random.default_rng(seed)
    shape = len(lens), max(lens), max(sizes) + 1
    tokens, durations = (log_softmax(2 * rng.normal(size=(*shape, size))) for size in (4, len(steps)))
    labels = rng.integers(1, 4, size=(len(lens), max(sizes) + 1))
    return torch.tensor(tokens), torch.tensor(durations), torch.tensor(labels)


@settings(max_examples=60, deadline=None)
@given(utterances())
def test_no_path_of_the_lattice_is_better(drawn):
    seed, steps, lens, sizes = drawn
    tokens, durations, labels = make(*drawn)
    found = best_paths(state_scores(tokens, durations, labels), torch.tensor(lens), torch.tensor(sizes), steps)
    for b, (length, size, alignment) in enumerate(zip(lens, sizes, found)):
        paths = list(enumerate_paths(length, labels[b, :size].tolist(), steps))
        scored = {
            tuple((t, steps[i]) for t, _, token, i in path if token): path_score(path, tokens[b], durations[b])
            for path in sorted(paths, key=lambda path: path_score(path, tokens[b], durations[b]))
        }
        best = max(scored.values(), default=-math.inf)
        assert alignment.score == best or abs(alignment.score - best) < 1e-9
        emissions = tuple(zip(alignment.frames, alignment.durations))
        if paths:
            assert abs(scored[emissions] - best) < 1e-9
        else:
            assert emissions == ()


@settings(max_examples=60, deadline=None)
@given(utterances(), st.integers(1, 3), st.data())
def test_a_band_keeps_the_paths_through_its_states(drawn, width, data):
    seed, steps, lens, sizes = drawn
    tokens, durations, labels = make(*drawn)
    count = max(lens) + max(sizes) + 1
    limits = [max(0, size + 1 - width) for size in sizes]
    bounds = [sorted(data.draw(st.integers(0, limit)) for _ in range(count)) for limit in limits]
    found = best_paths(
        state_scores(tokens, durations, labels),
        torch.tensor(lens),
        torch.tensor(sizes),
        steps,
        torch.tensor(bounds),
        width,
    )
    for b, (length, size, alignment) in enumerate(zip(lens, sizes, found)):

        def inside(t, u, row=bounds[b]):
            return row[t + u] <= u < row[t + u] + width

        paths = [
            path
            for path in enumerate_paths(length, labels[b, :size].tolist(), steps)
            if all(inside(t, u) for t, u, *_ in path) and inside(length, size)
        ]
        best = max((path_score(path, tokens[b], durations[b]) for path in paths), default=-math.inf)
        assert alignment.score == best or abs(alignment.score - best) < 1e-9
        if paths:
            (path,) = [
                p
                for p in paths
                if [(t, steps[i]) for t, _, token, i in p if token] == list(zip(alignment.frames, alignment.durations))
                and abs(path_score(p, tokens[b], durations[b]) - best) < 1e-9
            ]
            states = [(t, u) for t, u, *_ in path]
            below = [u - bounds[b][t + u] for t, u in states if bounds[b][t + u] > 0]
            above = [bounds[b][t + u] + width - 1 - u for t, u in states if bounds[b][t + u] + width <= size]
            assert alignment.room == min([size, *below, *above])


@settings(max_examples=20, deadline=None)
@given(utterances())
def test_an_utterance_has_the_same_path_alone_and_in_a_batch(drawn):
    seed, steps, lens, sizes = drawn
    tokens, durations, labels = make(*drawn)
    together = best_paths(state_scores(tokens, durations, labels), torch.tensor(lens), torch.tensor(sizes), steps)
    for b, (length, size) in enumerate(zip(lens, sizes)):
        part = tokens[b : b + 1, :length, : size + 1], durations[b : b + 1, :length, : size + 1]
        alone = best_paths(
            state_scores(*part, labels[b : b + 1, : size + 1]), torch.tensor([length]), torch.tensor([size]), steps
        )
        assert alone == [together[b]]
