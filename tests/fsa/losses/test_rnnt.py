"""RNN-T training: the pruned loss inside its band, the simple loss, and the bands that its occupancies choose."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa import rnnt_loss, rnnt_loss_simple, rnnt_prune_bounds, tdt_prune
from tests.fsa.losses.batches import BACKENDS, additive, backends, in_band, random_batch, shapes_of, value_and_gradient
from tests.oracles.loss import dynamic_programming, rnnt_brute_force, rnnt_occupancy

seeds = st.integers(0, 2**32 - 1)


@given(
    seed=seeds,
    shapes=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 4)), min_size=1, max_size=3),
    band=st.integers(1, 5),
)
@settings(max_examples=50, deadline=None)
def test_every_path_of_the_band(seed, shapes, band):
    rng = np.random.default_rng(seed)
    logits, targets, *lens = random_batch(rng, shapes, ())
    bounds = torch.zeros(len(shapes), logits.size(1), dtype=torch.int64)
    for b, (t, u) in enumerate(shapes):  # any bounds that start at 0, never fall and stay within the labels
        bounds[b, 1:t] = torch.from_numpy(np.sort(rng.integers(0, max(0, u + 1 - band) + 1, t - 1)))
    pruned = in_band(logits, bounds, band)
    for backend in BACKENDS:
        options = {"sigma": 0.05, "reduction": "none", "backend": backend, "bounds": bounds}
        values, gradient = value_and_gradient(rnnt_loss, pruned, targets, *lens, **options)
        assert not gradient.isnan().any()
        for b, (t, u) in enumerate(shapes):
            own = logits[b, :t, : u + 1].numpy()
            value, expected = rnnt_brute_force(own, targets[b, :u].tolist(), 0.05, (bounds[b].tolist(), band))
            assert values[b].item() == pytest.approx(value, abs=1e-6)
            for frame in range(t):
                kept = expected[frame, bounds[b, frame] : bounds[b, frame] + band]
                np.testing.assert_allclose(gradient[b, frame, : len(kept)], kept, atol=1e-5)


@given(seed=seeds, shapes=shapes_of)
@settings(max_examples=30, deadline=None)
def test_simple_loss_is_the_full_loss_of_the_additive_joint(seed, shapes):
    am, lm, targets, *lens = additive(np.random.default_rng(seed), shapes, 0, pad=(2, 1))
    am.requires_grad_(), lm.requires_grad_()
    options = {"sigma": 0.05, "fastemit_lambda": 0.1, "reduction": "none"}
    full = rnnt_loss(am.unsqueeze(2) + lm.unsqueeze(1), targets, *lens, **options)
    expected = torch.autograd.grad(full.sum(), (am, lm))
    for backend in BACKENDS:
        simple, occupancy = rnnt_loss_simple(am, lm, targets, *lens, backend=backend, **options)
        torch.testing.assert_close(simple, full, rtol=1e-9, atol=1e-9)
        for a, b in zip(torch.autograd.grad(simple.sum(), (am, lm)), expected):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
        assert not occupancy.requires_grad
    for b, (t, u) in enumerate(shapes):
        logits, labels = (am[b, :t, None] + lm[b, None, : u + 1]).detach().numpy(), targets[b, :u].tolist()
        assert simple[b].item() == pytest.approx(dynamic_programming(logits, labels, None, 0.05), abs=1e-9)
    assert occupancy.sum(2).sum(1).tolist() == pytest.approx([t + u for t, u in shapes], abs=1e-3)


@backends
def test_occupancies_are_those_of_rnnt(backend):
    shapes = [(30, 9), (12, 0), (17, 4), (1, 3)]
    am, lm, targets, *lens = additive(np.random.default_rng(3), shapes, 0, pad=(1, 1))
    _, occupancy = rnnt_loss_simple(am.float(), lm.float(), targets, *lens, backend=backend)
    for b, (t, u) in enumerate(shapes):
        logits = (am[b, :t, None] + lm[b, None, : u + 1]).numpy()
        expected = rnnt_occupancy(logits, targets[b, :u].tolist())
        np.testing.assert_allclose(occupancy[b, :t, : u + 1], expected, atol=1e-5)
        assert occupancy[b].sum().item() == pytest.approx(expected.sum(), abs=1e-4)


@given(
    seed=seeds,
    shapes=st.lists(st.tuples(st.integers(1, 60), st.integers(0, 40)), min_size=1, max_size=4),
    band=st.integers(2, 9),
    scale=st.sampled_from([0.0, 1.0, 5.0]),
)
@settings(max_examples=60, deadline=None)
def test_bounds(seed, shapes, band, scale):
    am, lm, targets, *lens = additive(np.random.default_rng(seed), shapes, 0, scale=scale)
    _, occupancy = rnnt_loss_simple(am, lm, targets, *lens)
    bounds = rnnt_prune_bounds(occupancy, *lens, band)
    zeros = torch.zeros(*bounds.shape, band, 4)
    pruned = rnnt_loss(zeros, targets, *lens, bounds=bounds, reduction="none", backend="torch")
    for b, (t, u) in enumerate(shapes):
        own, rise = bounds[b, :t], max(0, u + 1 - band)
        assert own[0] == 0 and (own.diff() >= 0).all() and own[-1] <= rise
        alignable = u <= (band - 1) * t  # a blank leads to the same label position, so a frame takes S - 1 labels
        assert pruned[b].isfinite() == alignable
        if alignable:
            assert own[-1] == rise and (t == 1 or own.diff().max() < band)


def test_bounds_keep_the_most_mass():
    """Against every sequence of bounds that rises by less than the band."""
    rng, (frames, labels, band) = np.random.default_rng(0), (6, 4, 3)
    lens = torch.tensor([frames]), torch.tensor([labels])
    for _ in range(20):
        occupancy = torch.from_numpy(rng.random((1, frames, labels + 1)))
        mass = in_band(occupancy.unsqueeze(-1), rnnt_prune_bounds(occupancy, *lens, band), band).sum()
        best = 0.0
        for jumps in np.ndindex(*(band,) * (frames - 1)):
            other = torch.tensor([[0, *np.cumsum(jumps)]])
            if other[0, -1] == labels + 1 - band:
                best = max(best, in_band(occupancy.unsqueeze(-1), other, band).sum().item())
        assert mass.item() == pytest.approx(best)


@given(seed=seeds, shapes=shapes_of, band=st.integers(2, 14))
@settings(max_examples=30, deadline=None)
def test_pruned_is_never_less_and_equals_full_in_a_wide_band(seed, shapes, band):
    am, lm, targets, *lens = additive(np.random.default_rng(seed), shapes, 0)
    full, occupancy = rnnt_loss_simple(am, lm, targets, *lens, reduction="none")
    bounds = rnnt_prune_bounds(occupancy, *lens, band)
    logits = am.unsqueeze(2) + tdt_prune(lm, bounds, band)
    for backend in BACKENDS:
        pruned = rnnt_loss(logits, targets, *lens, bounds=bounds, reduction="none", backend=backend)
        assert (pruned >= full - 1e-6).all()
        if band > int(lens[1].max()):
            torch.testing.assert_close(pruned, full, rtol=1e-6, atol=1e-6)


def test_bands_of_one_position_are_refused():
    with pytest.raises(ValueError, match="band must be at least 2 label positions for RNN-T, got 1"):
        rnnt_prune_bounds(torch.zeros(1, 3, 2), torch.tensor([3]), torch.tensor([1]), 1)
    with pytest.raises(ValueError, match=r"am \(2, 5, 7\) and lm \(2, 4, 8\) differ in B or V$"):
        lens = torch.tensor([5, 4]), torch.tensor([3, 3])
        rnnt_loss_simple(torch.zeros(2, 5, 7), torch.zeros(2, 4, 8), torch.ones(2, 3, dtype=torch.int64), *lens)
