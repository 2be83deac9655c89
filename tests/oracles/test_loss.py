"""The references of the losses, on cases that are counted by hand."""

import math

import numpy as np
import pytest
import torch

from tests.oracles.loss import (
    brute_force,
    dynamic_programming,
    enumerate_paths,
    log_softmax,
    num_errors,
    rnnt_occupancy,
    rnnt_prune_bounds,
)

UNIFORM = np.zeros((2, 2, 2 + 2))  # 2 frames, 1 label, tokens {blank, 1}, durations {0, 1}: each arc has 1/4


def test_log_softmax():
    assert log_softmax([0.0, math.log(3.0)]) == pytest.approx([math.log(0.25), math.log(0.75)])
    assert log_softmax([1000.0, 1000.0]) == pytest.approx([-math.log(2.0)] * 2)


def test_the_three_paths_of_one_label_in_two_frames():
    assert set(map(tuple, enumerate_paths(2, [1], (0, 1)))) == {
        ((0, 0, 1, 0), (0, 1, 0, 1), (1, 1, 0, 1)),
        ((0, 0, 1, 1), (1, 1, 0, 1)),
        ((0, 0, 0, 1), (1, 0, 1, 0), (1, 1, 0, 1)),
    }


def test_a_band_leaves_the_paths_through_its_states():
    assert list(enumerate_paths(2, [1], (0, 1), band=([0, 1], 1))) == [[(0, 0, 1, 1), (1, 1, 0, 1)]]
    assert list(enumerate_paths(2, [1], (0, 1), band=([0, 0], 1))) == []


def test_their_probabilities_add_up():
    wanted = -math.log(4.0**-3 + 4.0**-2 + 4.0**-3)
    assert brute_force(UNIFORM, [1], (0, 1))[0] == pytest.approx(wanted)
    assert dynamic_programming(UNIFORM, [1], (0, 1)) == pytest.approx(wanted)


def test_sigma_lowers_every_arc():
    wanted = -math.log(2 * math.exp(-3 * 0.5) * 4.0**-3 + math.exp(-2 * 0.5) * 4.0**-2)
    assert brute_force(UNIFORM, [1], (0, 1), sigma=0.5)[0] == pytest.approx(wanted)
    assert dynamic_programming(UNIFORM, [1], (0, 1), sigma=0.5) == pytest.approx(wanted)


def test_without_a_path_the_loss_is_infinite():
    loss, gradient = brute_force(np.zeros((1, 2, 3)), [1], (1,))  # the label's duration would end the utterance
    assert loss == math.inf and not gradient.any()
    assert dynamic_programming(np.zeros((1, 2, 3)), [1], (1,)) == math.inf


def test_the_gradient_is_that_of_finite_differences():
    logits, step = np.random.default_rng(0).normal(size=(3, 2, 2 + 2)), 1e-5
    _, gradient = brute_force(logits, [1], (0, 1))
    for place in np.ndindex(*logits.shape):
        above, below = logits.copy(), logits.copy()
        above[place] += step
        below[place] -= step
        difference = brute_force(above, [1], (0, 1))[0] - brute_force(below, [1], (0, 1))[0]
        assert gradient[place] == pytest.approx(difference / (2 * step), abs=1e-7)


def test_rnnt_of_one_label_in_two_frames():
    """Two paths of two blanks and a label, each arc with probability 1/2."""
    assert dynamic_programming(np.zeros((2, 2, 2)), [1], None) == pytest.approx(math.log(4.0))


def test_rnnt_occupancy():
    """Half of the paths emit the label at frame 0, half at frame 1."""
    assert rnnt_occupancy(np.zeros((2, 2, 2)), [1]) == pytest.approx(np.array([[1.0, 0.5], [0.5, 1.0]]))


def test_rnnt_prune_bounds_of_a_band_as_wide_as_the_labels():
    bounds = rnnt_prune_bounds(
        torch.zeros(1, 2, 4), torch.zeros(1, 2, 4), torch.tensor([[1]]), torch.tensor([2]), torch.tensor([1]), 2, 2
    )
    assert bounds.tolist() == [[0, 0]]


@pytest.mark.parametrize("a, b, errors", [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "abc", 0), ("ab", "ba", 2)])
def test_num_errors(a, b, errors):
    assert num_errors(a, b) == num_errors(b, a) == errors
