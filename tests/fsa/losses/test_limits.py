"""The losses at their limits: utterances without a path, lattices that are too large, wrong arguments."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
import torch

from hainan_k2.fsa import tdt_loss
from tests.fsa.losses.batches import backends, random_batch, value_and_gradient


@backends
def test_impossible_utterances(backend, caplog):
    """With durations of at least one frame, T frames emit at most T - 1 labels."""
    durations = (1, 2, 3)
    batch = random_batch(np.random.default_rng(4), [(3, 3), (4, 3), (2, 5)], durations)
    args = {"durations": durations, "backend": backend}
    values, gradient = value_and_gradient(tdt_loss, *batch, reduction="none", **args)
    assert values.isinf().tolist() == [True, False, True]
    assert (gradient[0] == 0).all() and (gradient[2] == 0).all() and gradient[1, :4, :4].abs().sum() > 1
    with caplog.at_level(logging.WARNING):
        zeroed, own = value_and_gradient(tdt_loss, *batch, reduction="sum", zero_infinity=True, **args)
    assert zeroed.item() == values[1].item()
    assert "loss 0 for 2 of 3 utterances" in caplog.text
    torch.testing.assert_close(own, gradient)
    empty = tdt_loss(*batch[:2], torch.tensor([0, 4, 2]), torch.tensor([0, 3, 1]), reduction="none", **args)
    assert empty.isinf().tolist() == [True, False, False]


@backends
def test_impossible_labels(backend):
    """A token whose logit is -inf on every frame leaves no path either; there is no nan."""
    durations = (0, 1, 2)
    logits, targets, *lens = random_batch(np.random.default_rng(5), [(4, 2), (4, 2)], durations)
    targets[:] = 1
    logits[0, ..., 1] = -torch.inf
    values, gradient = value_and_gradient(
        tdt_loss, logits, targets, *lens, durations, reduction="none", backend=backend
    )
    assert values.isinf().tolist() == [True, False]
    assert not gradient.isnan().any() and (gradient[0] == 0).all()


def test_topologies_are_reused_and_bounded():
    from hainan_k2.fsa.losses import lattice

    def build(frames, steps=(0, 1)):
        lens = torch.tensor([frames, 3]), torch.tensor([2, 1])
        return lattice.training_lattice(*lens, (1,), steps, 5000, 3)

    lattice._cache.clear()
    first = build(4)
    assert build(4) is first and build(5) is not first and build(4, (0, 2)) is not first
    for frames in range(5, 5000, 100):
        assert build(frames).frame_lens[0] == frames
        assert sum(x.num_arcs for x in lattice._cache.values()) <= lattice._CACHED_ARCS
    assert build(4) is not first and len(lattice._cache) <= lattice._CACHED_LATTICES


def test_too_many_arcs_for_k2(monkeypatch):
    pytest.importorskip("k2")
    from hainan_k2.fsa.losses import backend_k2

    monkeypatch.setattr(backend_k2, "_MAX_ARCS", 100)
    batch = random_batch(np.random.default_rng(11), [(9, 4), (8, 4)], (0, 1, 2))
    with pytest.raises(ValueError, match=r"450 arcs \(B=2, T=9, 5 label positions of 5 arcs\).*100"):
        tdt_loss(*batch, (0, 1, 2), backend="k2")
    assert math.isfinite(tdt_loss(*batch, (0, 1, 2), backend="torch").item())


@pytest.mark.parametrize(
    "change, message",
    [
        ({"durations": ()}, "durations must be ascending"),
        ({"durations": (0,)}, "with a positive one"),
        ({"durations": (0, 2, 1)}, r"\(0, 2, 1\)"),
        ({"durations": (0, 1, 1)}, "without repeats"),
        ({"durations": (-1, 0, 1)}, "not negative"),
        ({"durations": (0, 1.5, 2)}, "must be integers"),
        ({"durations": tuple(range(6))}, "too few"),
        ({"logits": torch.zeros(2, 5, 3)}, r"\(B, T, U \+ 1, V \+ D\).*\(2, 5, 3\)"),
        ({"logits": torch.zeros(2, 5, 4, 7, dtype=torch.int64)}, "floating point"),
        ({"targets": torch.ones(2, 4, dtype=torch.int64)}, "4 labels per row, the joint has 3"),
        ({"targets": torch.ones(3, 3, dtype=torch.int64)}, "B=2"),
        ({"targets": torch.ones(2, 3)}, "integers"),
        ({"targets": torch.tensor([[1, 2, 3], [1, 0, 3]])}, r"targets\[1, 1\] is 0, the blank"),
        (
            {"targets": torch.tensor([[1, 2, 4], [1, 1, 3]])},
            r"targets\[0, 2\] is 4, not in a vocabulary of 4",
        ),
        ({"frame_lens": torch.tensor([5, 6])}, r"frame_lens\[1\] is 6, must lie in 0 ... 5"),
        ({"frame_lens": torch.tensor([5])}, "frame_lens must hold 2"),
        ({"frame_lens": torch.tensor([5.0, 5.0])}, "frame_lens must hold 2 integers"),
        ({"target_lens": torch.tensor([4, 3])}, r"target_lens\[0\] is 4, must lie in 0 ... 3"),
        ({"target_lens": torch.tensor([3, -1])}, r"target_lens\[1\] is -1"),
        ({"reduction": "max"}, "reduction must be one of none, sum, mean, mean_volume, got 'max'"),
        ({"backend": "cuda"}, "backend must be one of auto, k2, torch, got 'cuda'"),
        ({"sigma": -0.1}, "sigma must not be negative"),
        ({"clamp": -1.0}, "clamp must not be negative"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {
        "logits": torch.zeros(2, 5, 4, 7),
        "targets": torch.tensor([[1, 2, 3], [3, 2, 1]]),
        "frame_lens": torch.tensor([5, 4]),
        "target_lens": torch.tensor([3, 2]),
        "durations": (0, 1, 2),
        **change,
    }
    with pytest.raises(ValueError, match=message):
        tdt_loss(**arguments)


def test_blank_beyond_the_targets_is_padding():
    lens = torch.tensor([5, 4]), torch.tensor([3, 2])
    targets = torch.tensor([[1, 2, 3], [3, 2, 0]])
    other = torch.tensor([[1, 2, 3], [3, 2, -100]])
    logits = torch.zeros(2, 5, 4, 7)
    assert tdt_loss(logits, targets, *lens, (0, 1, 2)) == tdt_loss(logits, other, *lens, (0, 1, 2))
