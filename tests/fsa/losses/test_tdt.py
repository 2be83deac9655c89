"""tdt_loss and rnnt_loss against golden vectors, path enumeration and dynamic programming; k2 against torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa import rnnt_loss, tdt_loss
from tests.fsa.losses.batches import BACKENDS, DURATIONS, backends, random_batch, value_and_gradient
from tests.oracles.loss import brute_force, dynamic_programming


@backends
def test_golden_vectors(backend):
    cases = json.loads((Path(__file__).parents[2] / "data" / "tdt_loss.json").read_text())
    assert len(cases) == 7
    for case in cases:
        logits = torch.tensor(case["logits_TUVD"], dtype=torch.float64)
        blank, vocab_size = case["blank"], logits.size(-1) - len(case["durations"])
        assert blank == vocab_size - 1  # these vectors have the blank last: turn it to the front
        order = [blank, *range(blank), *range(vocab_size, logits.size(-1))]
        targets = torch.tensor([case["labels"]]) + 1
        lens = torch.tensor([case["T"]]), torch.tensor([targets.size(1)])
        value, gradient = value_and_gradient(
            tdt_loss,
            logits[None, ..., order],
            targets,
            *lens,
            case["durations"],
            sigma=case["sigma"],
            backend=backend,
        )
        assert value.item() == pytest.approx(case["nll"], abs=1e-6), case["name"]
        expected = torch.tensor(case["grad_wrt_logits"], dtype=torch.float64)[..., order]
        torch.testing.assert_close(gradient[0], expected, atol=1e-6, rtol=0)


@given(
    seed=st.integers(0, 2**32 - 1),
    shapes=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3)), min_size=1, max_size=3),
    durations=st.sampled_from(DURATIONS),
    sigma=st.sampled_from([0.0, 0.05]),
    zero_penalty=st.sampled_from([0.0, 0.7]),
    pad=st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
@settings(max_examples=60, deadline=None)
def test_every_path(seed, shapes, durations, sigma, zero_penalty, pad):
    batch = random_batch(np.random.default_rng(seed), shapes, durations, pad=pad)
    for backend in BACKENDS:
        values, gradient = value_and_gradient(
            tdt_loss, *batch, durations, sigma=sigma, zero_penalty=zero_penalty, reduction="none", backend=backend
        )
        assert not gradient.isnan().any()
        for b, (t, u) in enumerate(shapes):
            labels = batch[1][b, :u].tolist()
            single = batch[0][b, :t, : u + 1].numpy()
            value, expected = brute_force(single, labels, durations, sigma, zero_penalty=zero_penalty)
            assert values[b].item() == pytest.approx(value, abs=1e-6)
            np.testing.assert_allclose(gradient[b, :t, : u + 1].numpy(), expected, atol=1e-5)
            inside = torch.zeros_like(gradient[b], dtype=torch.bool)
            inside[:t, : u + 1] = True
            assert (gradient[b][~inside] == 0).all()


@pytest.mark.parametrize("durations", DURATIONS[:3])
@backends
def test_long_utterances(durations, backend):
    shapes = [(60, 25), (41, 0), (1, 0), (60, 1), (33, 25)]
    batch = random_batch(np.random.default_rng(1), shapes, durations, vocab_size=11)
    values = tdt_loss(*batch, durations, sigma=0.05, reduction="none", backend=backend)
    rnnt = rnnt_loss(*batch, durations, reduction="none", backend=backend)
    for b, (t, u) in enumerate(shapes):
        logits, labels = batch[0][b, :t, : u + 1].numpy(), batch[1][b, :u].tolist()
        assert values[b].item() == pytest.approx(dynamic_programming(logits, labels, durations, 0.05), rel=1e-9)
        assert rnnt[b].item() == pytest.approx(dynamic_programming(logits[..., :11], labels, None), rel=1e-9)


@pytest.mark.skipif("k2" not in BACKENDS, reason="needs k2")
@given(
    seed=st.integers(0, 2**32 - 1),
    shapes=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 12)), min_size=1, max_size=4),
    durations=st.sampled_from(DURATIONS),
    scale=st.sampled_from([0.0, 1.0, 10.0, 1000.0]),
)
@settings(max_examples=40, deadline=None)
def test_k2_equals_torch(seed, shapes, durations, scale):
    """Values agree always, gradients up to the float32 rounding of k2's arc scores."""
    tolerance = {0.0: 1e-6, 1.0: 1e-6, 10.0: 1e-5, 1000.0: 1.0}[scale]
    for dtype in (torch.float64, torch.float32):
        batch = random_batch(np.random.default_rng(seed), shapes, durations, scale=scale, dtype=dtype)
        options = {"reduction": "none", "sigma": 0.05, "fastemit_lambda": 0.01, "zero_infinity": True}
        a, b = (value_and_gradient(tdt_loss, *batch, durations, backend=x, **options) for x in BACKENDS)
        torch.testing.assert_close(a[0], b[0], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(a[1], b[1], rtol=0, atol=tolerance)  # equal_nan is off


@backends
def test_rnnt_gradient_is_the_derivative(backend):
    durations = (0, 1, 2)
    batch = random_batch(np.random.default_rng(2), [(4, 2), (3, 0)], durations)
    _, gradient = value_and_gradient(rnnt_loss, *batch, durations, reduction="sum", backend=backend)
    assert (gradient[..., 4:] == 0).all()
    labels, logits, step = batch[1][0].tolist(), batch[0][0, ..., :4].numpy(), 1e-5
    for index in np.ndindex(logits.shape):
        ahead, behind = logits.copy(), logits.copy()
        ahead[index] += step
        behind[index] -= step
        slope = dynamic_programming(ahead, labels, None) - dynamic_programming(behind, labels, None)
        assert gradient[(0, *index)].item() == pytest.approx(slope / (2 * step), abs=1e-6)


@backends
def test_batch_composition_and_padding_do_not_matter(backend):
    durations, shapes = tuple(range(9)), [(20, 7), (11, 3), (9, 0), (1, 2)]
    logits, targets, *lens = random_batch(np.random.default_rng(3), shapes, durations, pad=(3, 2))
    args = {"durations": durations, "reduction": "none", "backend": backend}
    together, gradient = value_and_gradient(tdt_loss, logits, targets, *lens, **args)
    for b, (t, u) in enumerate(shapes):
        one = logits[b : b + 1, :t, : u + 1], targets[b : b + 1, :u], *(x[b : b + 1] for x in lens)
        alone, own_gradient = value_and_gradient(tdt_loss, *one, **args)
        assert alone.item() == pytest.approx(together[b].item(), rel=1e-12)
        torch.testing.assert_close(own_gradient[0], gradient[b, :t, : u + 1], rtol=0, atol=1e-6)
    order = [2, 0, 3, 1]
    moved = tdt_loss(logits[order], targets[order], *(x[order] for x in lens), **args)
    torch.testing.assert_close(moved, together[order], rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@backends
def test_half_precision_logits_are_summed_in_float32(dtype, backend):
    durations = tuple(range(9))
    logits, *rest = random_batch(np.random.default_rng(6), [(80, 20), (50, 13)], durations, vocab_size=40)
    half = logits.to(dtype)
    value, gradient = value_and_gradient(tdt_loss, half, *rest, durations, backend=backend)
    exact, expected = value_and_gradient(tdt_loss, half.double(), *rest, durations, backend=backend)
    assert value.dtype == torch.float32 and gradient.dtype == dtype
    assert value.item() == pytest.approx(exact.item(), rel=1e-6)
    torch.testing.assert_close(gradient, expected.to(dtype), rtol=2e-2, atol=1e-4)


@backends
def test_no_denormal_gradients(backend):
    """Gradients that would be denormal numbers, far from every probable path, are exactly 0."""
    batch = random_batch(np.random.default_rng(12), [(150, 60)], (0, 1, 2), dtype=torch.float32)
    _, gradient = value_and_gradient(tdt_loss, *batch, (0, 1, 2), backend=backend)
    _, exact = value_and_gradient(tdt_loss, batch[0].double(), *batch[1:], (0, 1, 2), backend="torch")
    denormal = (exact != 0) & (exact.abs() < torch.finfo(torch.float32).tiny)
    assert denormal.any() and (gradient[denormal] == 0).all()
    assert ((gradient == 0) | (gradient.abs() >= torch.finfo(torch.float32).tiny)).all()
    torch.testing.assert_close(gradient.double(), exact, rtol=0, atol=1e-6)


@backends
def test_no_gradient_wanted(backend):
    durations = (0, 1, 2)
    batch = random_batch(np.random.default_rng(10), [(7, 3), (6, 0)], durations)
    expected, _ = value_and_gradient(tdt_loss, *batch, durations, backend=backend)
    assert tdt_loss(*batch, durations, backend=backend).item() == expected.item()
