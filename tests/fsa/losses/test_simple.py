"""The simple loss against the full loss of the same additive joint, and its occupancies against their definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa import tdt_loss, tdt_loss_simple
from tests.fsa.losses.batches import BACKENDS, WITH_ONE, additive, backends, shapes_of


@given(seed=st.integers(0, 2**32 - 1), shapes=shapes_of, durations=st.sampled_from(WITH_ONE))
@settings(max_examples=30, deadline=None)
def test_simple_loss_is_the_full_loss_of_the_additive_joint(seed, shapes, durations):
    am, lm, *rest = additive(np.random.default_rng(seed), shapes, len(durations), pad=(2, 1))
    am.requires_grad_(), lm.requires_grad_()
    options = {"sigma": 0.05, "fastemit_lambda": 0.1, "reduction": "sum", "zero_infinity": True}
    full = tdt_loss(am.unsqueeze(2) + lm.unsqueeze(1), *rest, durations, **options)
    expected = torch.autograd.grad(full, (am, lm))
    for backend in BACKENDS:
        simple, occupancy = tdt_loss_simple(am, lm, *rest, durations, backend=backend, **options)
        torch.testing.assert_close(simple, full, rtol=1e-9, atol=1e-9)
        for a, b in zip(torch.autograd.grad(simple, (am, lm)), expected):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
        assert not occupancy.requires_grad


@backends
def test_occupancy(backend):
    """A path comes through (0, 0), and through each number of labels at least once."""
    durations, shapes = tuple(range(9)), [(30, 9), (12, 0), (17, 4)]
    am, lm, *rest = additive(np.random.default_rng(3), shapes, len(durations), pad=(1, 1))
    _, occupancy = tdt_loss_simple(am.float(), lm.float(), *rest, durations, backend=backend)
    for b, (t, u) in enumerate(shapes):
        own = occupancy[b, :t, : u + 1]
        assert own[0, 0].item() == pytest.approx(1.0, abs=1e-5)
        assert (own.sum(0) >= 1 - 1e-5).all() and (own.sum(1) <= u + 1).all()
        assert own.sum() == pytest.approx(occupancy[b].sum().item())


def test_simple_loss_of_far_apart_logits():
    """Sums of exponentials that float32 could not hold."""
    durations = (0, 1, 2)
    am, lm, *rest = additive(np.random.default_rng(4), [(9, 3), (7, 2)], 3, scale=60.0)
    full = tdt_loss(am.unsqueeze(2) + lm.unsqueeze(1), *rest, durations)
    simple, occupancy = tdt_loss_simple(am, lm, *rest, durations)
    assert simple.item() == pytest.approx(full.item(), rel=1e-9)
    assert occupancy.isfinite().all()


def test_simple_loss_under_autocast():
    durations = (0, 1, 2)
    am, lm, *rest = additive(np.random.default_rng(5), [(9, 3), (7, 2)], 3)
    expected, _ = tdt_loss_simple(am.float(), lm.float(), *rest, durations)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert tdt_loss_simple(am.float(), lm.float(), *rest, durations)[0].item() == expected.item()


def test_simple_loss_of_half_precision():
    durations = (0, 1, 2)
    am, lm, *rest = additive(np.random.default_rng(5), [(30, 9), (17, 2)], 3)
    am, lm = am.half().requires_grad_(), lm.half().requires_grad_()
    loss, occupancy = tdt_loss_simple(am, lm, *rest, durations)
    exact, exact_occupancy = tdt_loss_simple(am.double(), lm.double(), *rest, durations)
    assert loss.dtype == occupancy.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=1e-6)
    assert torch.equal(occupancy, exact_occupancy)
    loss.backward()
    assert am.grad.dtype == torch.float16 and am.grad.isfinite().all()
