"""The pruned loss is exact inside its band, and the bands contain the probable paths of TDT."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa import (
    LossOptions,
    rnnt_loss,
    tdt_loss,
    tdt_loss_pruned,
    tdt_loss_simple,
    tdt_prune,
    tdt_prune_bounds,
)
from tests.fsa.losses.batches import (
    BACKENDS,
    DURATIONS,
    WITH_ONE,
    additive,
    backends,
    in_band,
    random_batch,
    shapes_of,
    value_and_gradient,
)
from tests.oracles.loss import brute_force, rnnt_prune_bounds


@given(
    seed=st.integers(0, 2**32 - 1),
    shapes=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 4)), min_size=1, max_size=3),
    durations=st.sampled_from(DURATIONS),
    band=st.integers(1, 5),
)
@settings(max_examples=60, deadline=None)
def test_every_path_of_the_band(seed, shapes, durations, band):
    rng = np.random.default_rng(seed)
    logits, targets, *lens = random_batch(rng, shapes, durations)
    bounds = torch.zeros(len(shapes), logits.size(1), dtype=torch.int64)
    for b, (t, u) in enumerate(shapes):  # any bounds that start at 0, never fall and stay within the labels
        bounds[b, 1:t] = torch.from_numpy(np.sort(rng.integers(0, max(0, u + 1 - band) + 1, t - 1)))
    pruned = in_band(logits, bounds, band)
    for backend in BACKENDS:
        options = LossOptions(sigma=0.05, reduction="none", backend=backend)
        values, gradient = value_and_gradient(
            tdt_loss_pruned, pruned, targets, bounds, *lens, durations, options=options
        )
        assert not gradient.isnan().any()
        for b, (t, u) in enumerate(shapes):
            limits = bounds[b].tolist(), band
            own = logits[b, :t, : u + 1].numpy()
            value, expected = brute_force(own, targets[b, :u].tolist(), durations, 0.05, limits)
            assert values[b].item() == pytest.approx(value, abs=1e-6)
            for frame in range(t):
                kept = expected[frame, bounds[b, frame] : bounds[b, frame] + band]
                np.testing.assert_allclose(gradient[b, frame, : len(kept)], kept, atol=1e-5)


@given(
    seed=st.integers(0, 2**32 - 1),
    shapes=shapes_of,
    durations=st.sampled_from(WITH_ONE),
    band=st.integers(2, 14),
    scale=st.sampled_from([0.5, 3.0]),
)
@settings(max_examples=60, deadline=None)
def test_pruned_is_never_less_and_equals_full_in_a_wide_band(seed, shapes, durations, band, scale):
    rng = np.random.default_rng(seed)
    am, lm, targets, *lens = additive(rng, shapes, len(durations), scale=scale)
    simple, occupancy = tdt_loss_simple(am, lm, targets, *lens, durations, reduction="none")
    bounds = tdt_prune_bounds(occupancy, *lens, durations, band)
    logits, *_ = random_batch(rng, shapes, durations, scale=scale)
    full, gradient = value_and_gradient(tdt_loss, logits, targets, *lens, durations, reduction="none")
    for backend in BACKENDS:
        pruned, own = value_and_gradient(
            tdt_loss_pruned,
            in_band(logits, bounds, band),
            targets,
            bounds,
            *lens,
            durations,
            reduction="none",
            backend=backend,
        )
        assert (pruned >= full - 1e-9).all()
        assert not own.isnan().any()
        if band > int(lens[1].max()):
            torch.testing.assert_close(pruned, full, rtol=1e-6, atol=1e-6)
            torch.testing.assert_close(own[:, :, : gradient.size(2)], gradient, rtol=0, atol=1e-6)


@given(
    seed=st.integers(0, 2**32 - 1),
    shapes=st.lists(st.tuples(st.integers(1, 60), st.integers(0, 40)), min_size=1, max_size=4),
    durations=st.sampled_from(WITH_ONE),
    band=st.integers(2, 9),
    scale=st.sampled_from([0.0, 1.0, 5.0]),
)
@settings(max_examples=60, deadline=None)
def test_bounds(seed, shapes, durations, band, scale):
    am, lm, targets, *lens = additive(np.random.default_rng(seed), shapes, len(durations), scale=scale)
    _, occupancy = tdt_loss_simple(am, lm, targets, *lens, durations)
    bounds = tdt_prune_bounds(occupancy, *lens, durations, band)
    assert bounds.shape == occupancy.shape[:2] and bounds.dtype == torch.int64
    zeros = torch.zeros(*bounds.shape, band, 4 + len(durations))
    pruned = tdt_loss_pruned(zeros, targets, bounds, *lens, durations, reduction="none", backend="torch")
    fastest = durations[0]
    for b, (t, u) in enumerate(shapes):
        own, rise = bounds[b, :t], max(0, u + 1 - band)
        assert own[0] == 0 and (own.diff() >= 0).all() and own[-1] <= rise
        # As many labels as a band takes: S - 1 on the first frame and S more on each of the next.
        spellable = u * fastest < t if fastest else u <= band * t - 1
        assert pruned[b].isfinite() == spellable
        if not spellable:
            continue
        assert own[-1] == rise
        assert t == 1 or own.diff().max() <= (1 if fastest else band)


def along(path):
    """Occupancy (1, T, U + 1) of one path through (t, path[t]), and the lengths."""
    occupancy = torch.zeros(1, len(path), path[-1] + 1)
    occupancy[0, torch.arange(len(path)), torch.tensor(path)] = 1.0
    return occupancy, torch.tensor([len(path)]), torch.tensor([path[-1]])


@pytest.mark.parametrize("durations", DURATIONS[:3])
def test_no_jump_is_wider_than_the_band_over_any_duration(durations):
    """Up to half a label per frame, with silences and frames that long durations skip: no mass is lost."""
    path = (
        [0] * 20 + [u for u in range(20) for _ in range(2)] + [19] * 30 + [u for u in range(20, 30) for _ in range(3)]
    )
    occupancy, *lens = along(path)
    occupancy[0, 25:80:3] = 0.0
    bounds = tdt_prune_bounds(occupancy, *lens, durations, 5)[0]
    for d in durations:
        assert d == 0 or (bounds[d:] - bounds[:-d]).max() <= min(5, d)
    inside = torch.tensor(path) - bounds
    assert ((inside >= 0) & (inside < 5))[occupancy[0].sum(1) > 0].all()


def test_bands_follow_bursts():
    """One label per frame for 30 frames. A band of 5 that rises by at most 5 labels in 8 frames loses the path."""
    durations, band = tuple(range(9)), 5
    path = [0] * 20 + list(range(1, 31)) + [30] * 50
    occupancy, *lens = along(path)
    bounds = tdt_prune_bounds(occupancy, *lens, durations, band)
    inside = torch.tensor(path) - bounds[0]
    assert ((inside >= 0) & (inside < band)).all() and bounds[0].diff().max() <= band

    # Logits that favour this path by 8 nats.
    targets = torch.from_numpy(np.random.default_rng(0).integers(1, 20, (1, 30)))
    logits = torch.zeros(1, len(path), 31, 20 + len(durations))
    for t, u in enumerate(path):
        emits = t + 1 < len(path) and path[t + 1] > u
        logits[0, t, u, targets[0, u] if emits else 0] = 8.0
        logits[0, t, u, 20 + 1] = 8.0
    full = tdt_loss(logits, targets, *lens, durations)
    pruned = tdt_loss_pruned(in_band(logits, bounds, band), targets, bounds, *lens, durations)
    assert pruned.item() == pytest.approx(full.item(), rel=1e-3)
    for start in range(20, 46):  # the steepest bounds that rise by at most 5 in 8 frames
        steepest = ((torch.arange(len(path)) - start + 7) // 8 * 5).clamp(0, 26).unsqueeze(0)
        limited = tdt_loss_pruned(in_band(logits, steepest, band), targets, steepest, *lens, durations)
        assert limited.item() > full.item() + 5


def test_bounds_keep_the_most_mass():
    """Against every sequence of bounds, where no jump is too wide."""
    rng, (frames, labels, band) = np.random.default_rng(0), (6, 5, 3)
    lens = torch.tensor([frames]), torch.tensor([labels])
    for _ in range(20):
        occupancy = torch.from_numpy(rng.random((1, frames, labels + 1)))
        bounds = tdt_prune_bounds(occupancy, *lens, (0, 1), band)
        mass = in_band(occupancy.unsqueeze(-1), bounds, band).sum()
        best = 0.0
        for jumps in np.ndindex(*(4,) * (frames - 1)):
            other = torch.tensor([[0, *np.cumsum(jumps)]])
            if other[0, -1] == labels + 1 - band:
                best = max(best, in_band(occupancy.unsqueeze(-1), other, band).sum().item())
        assert mass.item() == pytest.approx(best)


def test_tdt_prune_gathers_and_gives_gradients_back():
    bounds = torch.tensor([[0, 0, 1, 2], [0, 3, 3, 3]])
    projected = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    pruned = tdt_prune(projected, bounds, 3)
    assert pruned.shape == (2, 4, 3, 3)
    for b, t, s in np.ndindex(2, 4, 3):
        assert torch.equal(pruned[b, t, s], projected[b, min(4, int(bounds[b, t]) + s)])
    assert torch.autograd.gradcheck(lambda x: tdt_prune(x, bounds, 3), (projected,))


@backends
def test_rnnt_inside_the_band(backend):
    """The RNN-T loss of pruned training with omega: a band of all labels gives the full RNN-T loss."""
    durations, shapes = (0, 1, 2, 4, 8), [(12, 5), (9, 2)]
    logits, targets, *lens = random_batch(np.random.default_rng(6), shapes, durations)
    full = rnnt_loss(logits, targets, *lens, durations, backend=backend)
    zeros = torch.zeros(2, 12, dtype=torch.int64)
    wide = rnnt_loss(logits, targets, *lens, durations, backend=backend, bounds=zeros)
    assert wide.item() == pytest.approx(full.item(), rel=1e-9)
    _, occupancy = tdt_loss_simple(*additive(np.random.default_rng(6), shapes, 5), durations)
    bounds = tdt_prune_bounds(occupancy, *lens, durations, 3)
    narrow = rnnt_loss(in_band(logits, bounds, 3), targets, *lens, durations, backend=backend, bounds=bounds)
    assert full.item() < narrow.item() < np.inf


def test_rnnt_bounds_lose_more():
    """With a joint that prefers long durations, TDT's paths visit other states than those of RNN-T."""
    durations, shapes, band = tuple(range(9)), [(120, 30), (100, 22)], 5
    am, lm, targets, *lens = additive(np.random.default_rng(7), shapes, 9, vocab_size=30, scale=1.5)
    am[..., 30:] += torch.linspace(-2, 2, 9)
    full = tdt_loss(am.unsqueeze(2) + lm.unsqueeze(1), targets, *lens, durations)
    _, occupancy = tdt_loss_simple(am, lm, targets, *lens, durations)
    excess = []
    for bounds in (
        tdt_prune_bounds(occupancy, *lens, durations, band),
        rnnt_prune_bounds(am, lm, targets, *lens, len(durations), band),
    ):
        logits = am.unsqueeze(2) + tdt_prune(lm, bounds, band)
        excess.append(tdt_loss_pruned(logits, targets, bounds, *lens, durations).item() / full.item() - 1)
    assert 0 <= excess[0] < 0.01 < excess[1]


@pytest.mark.parametrize(
    "bounds, message",
    [
        (torch.zeros(2, 4, dtype=torch.int64), r"bounds must hold integers of shape \(2, 5\)"),
        (torch.zeros(2, 5), "integers"),
        (torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]), r"bounds\[1, 0\] is 1: bounds start at 0"),
        (torch.tensor([[0, 0, 1, 0, 1], [0, 0, 0, 0, 0]]), r"bounds\[0, 3\] is 0: .*never fall"),
        (
            torch.tensor([[0, 0, 1, 2, 2], [0, 0, 0, 0, 0]]),
            r"bounds\[0, 3\] is 2: .*0 ... 1 \(band of 3, 3 labels\)",
        ),
    ],
)
def test_bad_bounds_are_named(bounds, message):
    targets, lens = torch.tensor([[1, 2, 3], [3, 2, 1]]), (torch.tensor([5, 4]), torch.tensor([3, 3]))
    with pytest.raises(ValueError, match=message):
        tdt_loss_pruned(torch.zeros(2, 5, 3, 7), targets, bounds, *lens, (0, 1, 2))


def test_bad_sizes_are_named():
    lens = torch.tensor([5, 4]), torch.tensor([3, 3])
    targets, durations = torch.tensor([[1, 2, 3], [3, 2, 1]]), (0, 1, 2)
    with pytest.raises(ValueError, match=r"am \(2, 5, 7\) and lm \(2, 4, 8\) differ"):
        tdt_loss_simple(torch.zeros(2, 5, 7), torch.zeros(2, 4, 8), targets, *lens, durations)
    with pytest.raises(ValueError, match=r"occupancy must be \(B, T, U \+ 1\)"):
        tdt_prune_bounds(torch.zeros(2, 5), *lens, durations, 3)
    with pytest.raises(ValueError, match="band must be at least 1"):
        tdt_prune_bounds(torch.zeros(2, 5, 4), *lens, durations, 0)
    with pytest.raises(ValueError, match=r"target_lens\[0\] is 3, must lie in 0 ... 2"):
        tdt_prune_bounds(torch.zeros(2, 5, 3), *lens, durations, 3)
    with pytest.raises(ValueError, match="pred_proj must be"):
        tdt_prune(torch.zeros(2, 4), torch.zeros(2, 5, dtype=torch.int64), 3)
