"""The options of the losses: reductions, FastEmit and the clamp, in the loss and its gradient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hainan_k2.fsa import LossOptions, rnnt_loss, tdt_loss, tdt_loss_simple
from tests.fsa.losses.batches import additive, backends, random_batch, value_and_gradient


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


def test_an_object_and_names_are_the_same_options():
    durations = (0, 1, 2)
    batch = random_batch(np.random.default_rng(10), [(6, 3), (4, 1)], durations)
    by_name = tdt_loss(*batch, durations, sigma=0.05, reduction="sum", backend="torch")
    options = LossOptions(sigma=0.05, reduction="mean", backend="torch")
    assert torch.equal(tdt_loss(*batch, durations, options=options, reduction="sum"), by_name)
    assert torch.equal(tdt_loss(*batch, durations, options=replace(options, reduction="sum")), by_name)


@pytest.mark.parametrize("loss", [tdt_loss, rnnt_loss])
def test_unknown_options_are_named(loss):
    batch = random_batch(np.random.default_rng(10), [(6, 3)], (0, 1))
    with pytest.raises(TypeError, match="no loss option delay_penalty, rnnt_type; there are sigma, reduction, backend"):
        loss(*batch, (0, 1), rnnt_type="modified", delay_penalty=0.1)


def test_the_simple_loss_has_no_clamp():
    am, lm, *rest = additive(np.random.default_rng(10), [(6, 3)], 2)
    with pytest.raises(ValueError, match="clamp is 0.1: a simple loss has no joint logits"):
        tdt_loss_simple(am, lm, *rest, (0, 1), clamp=0.1)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"reduction": "max"}, "reduction must be one of none, sum, mean, mean_volume, got 'max'"),
        ({"backend": "cuda"}, "backend must be one of auto, k2, torch, got 'cuda'"),
        ({"fastemit_lambda": -1.0}, "fastemit_lambda must not be negative"),
        ({"sigma": float("nan")}, "sigma must not be negative, got nan"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        LossOptions(**options)
