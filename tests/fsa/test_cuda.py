"""The losses on a GPU give the CPU's values and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hainan_k2.fsa import rnnt_loss, tdt_loss, tdt_loss_pruned, tdt_loss_simple, tdt_prune, tdt_prune_bounds
from tests.fsa.test_loss import random_batch, value_and_gradient
from tests.fsa.test_pruning import additive

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

SHAPES = [(60, 25), (41, 0), (1, 0), (33, 20), (2, 9)]
DURATIONS = (0, 1, 2, 4, 8)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize("loss", [tdt_loss, rnnt_loss])
def test_full(loss, dtype, tolerance):
    batch = random_batch(np.random.default_rng(0), SHAPES, DURATIONS, vocab_size=30, dtype=dtype)
    args = {"durations": DURATIONS, "reduction": "none", "backend": "torch"}
    value, gradient = value_and_gradient(loss, *batch, **args)
    on_gpu, its_gradient = value_and_gradient(loss, *(x.cuda() for x in batch), **args)
    torch.testing.assert_close(on_gpu.cpu(), value, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(its_gradient.cpu(), gradient, rtol=0, atol=tolerance)


def test_pruned():
    am, lm, *rest = additive(np.random.default_rng(1), SHAPES, len(DURATIONS), vocab_size=30)
    results = []
    for device in ("cpu", "cuda"):
        inputs = [x.to(device).requires_grad_() for x in (am, lm)]
        targets, *lens = (x.to(device) for x in rest)
        options = {"reduction": "sum", "zero_infinity": True, "backend": "torch"}
        simple, occupancy = tdt_loss_simple(*inputs, targets, *lens, DURATIONS, **options)
        bounds = tdt_prune_bounds(occupancy, *lens, DURATIONS, 4)
        logits = inputs[0].unsqueeze(2) + tdt_prune(inputs[1], bounds, 4)
        pruned = tdt_loss_pruned(logits, targets, bounds, *lens, DURATIONS, **options)
        gradients = torch.autograd.grad(simple + pruned, inputs)
        results.append([x.detach().cpu() for x in (simple, pruned, occupancy, bounds, *gradients)])
    for a, b in zip(*results):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast(dtype):
    """Joint networks under autocast hand over half precision; nothing of the simple loss may follow."""
    am, lm, *rest = (x.cuda() for x in additive(np.random.default_rng(2), SHAPES, 5, vocab_size=30))
    am, lm = am.nan_to_num().float(), lm.nan_to_num().float()
    expected, _ = tdt_loss_simple(am, lm, *rest, DURATIONS, zero_infinity=True, backend="torch")
    with torch.autocast("cuda", dtype=dtype):
        value, _ = tdt_loss_simple(am, lm, *rest, DURATIONS, zero_infinity=True, backend="torch")
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
