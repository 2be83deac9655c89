"""tdt_loss and rnnt_loss against golden vectors, against every path one by one, and against themselves."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa import rnnt_loss, tdt_loss
from tests.oracle_loss import brute_force, dynamic_programming

try:
    import k2  # noqa: F401

    BACKENDS = ["torch", "k2"]
except ImportError:
    BACKENDS = ["torch"]

DURATIONS = [
    tuple(range(9)),
    tuple(range(1, 9)),
    (0, 1, 2, 4, 8),
    (0, 1, 2),
    (1,),
    (0, 2),
    (2, 3),
]
backends = pytest.mark.parametrize("backend", BACKENDS)


def random_batch(rng, shapes, durations, vocab_size=4, pad=(0, 0), scale=2.0, dtype=torch.float64):
    """(logits, targets, frame_lens, target_lens) of utterances of `shapes` (T, U); nan at padding."""
    frames, labels = max(t for t, _ in shapes) + pad[0], max(u for _, u in shapes) + pad[1]
    logits = torch.full(
        (len(shapes), frames, labels + 1, vocab_size + len(durations)), torch.nan, dtype=dtype
    )
    targets = torch.zeros(len(shapes), labels, dtype=torch.int64)
    for b, (t, u) in enumerate(shapes):
        logits[b, :t, : u + 1] = torch.from_numpy(
            scale * rng.standard_normal((t, u + 1, logits.size(-1)))
        ).to(dtype)
        targets[b, :u] = torch.from_numpy(rng.integers(1, vocab_size, u))
    frame_lens, target_lens = torch.tensor(shapes).T
    return logits, targets, frame_lens, target_lens


def value_and_gradient(loss, logits, *args, **options):
    logits = logits.detach().requires_grad_()
    value = loss(logits, *args, **options)
    value.sum().backward()
    return value.detach(), logits.grad


@backends
def test_golden_vectors(backend):
    cases = json.loads((Path(__file__).parent.parent / "data" / "tdt_loss.json").read_text())
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
            case["sigma"],
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
    pad=st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
@settings(max_examples=60, deadline=None)
def test_every_path(seed, shapes, durations, sigma, pad):
    batch = random_batch(np.random.default_rng(seed), shapes, durations, pad=pad)
    for backend in BACKENDS:
        values, gradient = value_and_gradient(
            tdt_loss, *batch, durations, sigma, reduction="none", backend=backend
        )
        assert not gradient.isnan().any()
        for b, (t, u) in enumerate(shapes):
            labels = batch[1][b, :u].tolist()
            value, expected = brute_force(batch[0][b, :t, : u + 1].numpy(), labels, durations, sigma)
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
        assert values[b].item() == pytest.approx(
            dynamic_programming(logits, labels, durations, 0.05), rel=1e-9
        )
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
    """Values always; gradients as far as arc scores in float32, which is what k2 has, tell them apart."""
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


@backends
def test_impossible_utterances(backend, caplog):
    """Durations of at least one frame spell at most T - 1 labels."""
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
    """A token whose logit is -inf on every frame leaves no path either, and no nan."""
    durations = (0, 1, 2)
    logits, targets, *lens = random_batch(np.random.default_rng(5), [(4, 2), (4, 2)], durations)
    targets[:] = 1
    logits[0, ..., 1] = -torch.inf
    values, gradient = value_and_gradient(
        tdt_loss, logits, targets, *lens, durations, reduction="none", backend=backend
    )
    assert values.isinf().tolist() == [True, False]
    assert not gradient.isnan().any() and (gradient[0] == 0).all()


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
def test_reductions(backend):
    durations = (0, 1, 2, 4, 8)
    batch = random_batch(np.random.default_rng(7), [(12, 5), (9, 2), (5, 0)], durations)
    none, total, mean, volume = (
        value_and_gradient(tdt_loss, *batch, durations, reduction=r, backend=backend)
        for r in ("none", "sum", "mean", "mean_volume")
    )
    assert none[0].shape == (3,)
    for (value, gradient), factor in ((total, 1.0), (mean, 1 / 3), (volume, 1 / 7)):
        torch.testing.assert_close(value, none[0].sum() * factor)
        torch.testing.assert_close(gradient, none[1] * factor)


@backends
def test_fastemit_and_clamp_act_on_token_gradients_only(backend):
    """FastEmit counts emissions of labels 1 + lambda times (arXiv 2010.11148); the value stays."""
    durations, vocab_size, factor = (0, 1, 2), 4, 0.5
    logits, *rest = random_batch(np.random.default_rng(8), [(5, 3)], durations)
    args = {"durations": durations, "backend": backend, "reduction": "none"}
    value, plain = value_and_gradient(tdt_loss, logits, *rest, **args)
    emitting, fast = value_and_gradient(tdt_loss, logits, *rest, fastemit_lambda=factor, **args)
    clamping, clamped = value_and_gradient(tdt_loss, logits, *rest, clamp=0.05, **args)
    assert value == emitting == clamping
    assert torch.equal(fast[..., vocab_size:], plain[..., vocab_size:])
    assert torch.equal(clamped[..., vocab_size:], plain[..., vocab_size:])
    torch.testing.assert_close(clamped[..., :vocab_size], plain[..., :vocab_size].clamp(-0.05, 0.05))
    assert (clamped != plain).any()
    # -plain[label] = tokens - P(label) (tokens + blanks), -plain[blank] = blanks - P(blank) (tokens + blanks)
    probabilities = logits[0, ..., :vocab_size].softmax(-1)
    label = torch.nn.functional.pad(rest[0][0], (0, 1)).view(1, -1, 1).expand(5, -1, 1)
    p, g = (x.gather(-1, label)[:, :3, 0] for x in (probabilities, -plain[0]))
    q, h = probabilities[:, :3, 0], -plain[0, :, :3, 0]
    tokens = (g * (1 - q) + h * p) / (1 - p - q)
    expected = plain[0, :, :3, :vocab_size] + factor * tokens[..., None] * probabilities[:, :3]
    expected.scatter_add_(-1, label[:, :3], -factor * tokens[..., None])
    torch.testing.assert_close(fast[0, :, :3, :vocab_size], expected, rtol=0, atol=1e-6)


@backends
def test_clamp_comes_before_the_scale(backend):
    durations = (0, 1, 2)
    batch = random_batch(np.random.default_rng(9), [(5, 3), (4, 1)], durations)
    args = {"durations": durations, "backend": backend, "clamp": 0.05}
    _, total = value_and_gradient(tdt_loss, *batch, reduction="sum", **args)
    _, scaled = value_and_gradient(lambda *a, **k: 1000 * tdt_loss(*a, **k), *batch, reduction="mean", **args)
    torch.testing.assert_close(scaled, total * 500)


@backends
def test_no_denormal_gradients(backend):
    """States far from every likely path have gradients too small to be normal numbers: exactly 0 instead."""
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


def test_topologies_are_reused_and_bounded():
    from hainan_k2.fsa import lattice

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
    from hainan_k2.fsa import fsavec

    monkeypatch.setattr(fsavec, "_MAX_ARCS", 100)
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
