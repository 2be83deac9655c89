"""The losses on a GPU equal those on the CPU. Skipped without a GPU."""

import pytest
import torch

from hainan_k2 import fsa

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def inputs(device, durations):
    torch.manual_seed(0)
    logits = torch.randn(3, 30, 8, 20 + len(durations), dtype=torch.float64)
    targets = torch.randint(1, 20, (3, 7))
    return (
        logits.to(device).requires_grad_(),
        targets.to(device),
        *(torch.tensor(lens, device=device) for lens in ([30, 17, 25], [7, 0, 4])),
    )


@pytest.mark.parametrize("durations", [tuple(range(9)), tuple(range(1, 9)), (0, 1, 2, 4, 8)])
@pytest.mark.parametrize("options", [{}, {"sigma": 0.05, "fastemit_lambda": 0.1, "reduction": "sum"}])
def test_full_loss(durations, options):
    by_device = {}
    for device in ("cpu", "cuda"):
        logits, targets, frame_lens, target_lens = inputs(device, durations)
        loss = fsa.tdt_loss(logits, targets, frame_lens, target_lens, durations, backend="torch", **options)
        by_device[device] = loss.detach().cpu(), torch.autograd.grad(loss, logits)[0].cpu()
    for cpu, cuda in zip(by_device["cpu"], by_device["cuda"]):
        torch.testing.assert_close(cuda, cpu, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("durations", [tuple(range(9)), tuple(range(1, 9)), (0, 1, 2, 4, 8)])
def test_simple_and_pruned_loss(durations):
    by_device = {}
    for device in ("cpu", "cuda"):
        logits, targets, frame_lens, target_lens = inputs(device, durations)
        am, lm = (x.detach().requires_grad_() for x in (logits[:, :, 0], logits[:, 0]))
        simple, occupancy = fsa.tdt_loss_simple(am, lm, targets, frame_lens, target_lens, durations, backend="torch")
        bounds = fsa.tdt_prune_bounds(occupancy, frame_lens, target_lens, durations, 4).to(device)
        positions = (bounds[..., None] + torch.arange(4, device=device)).clamp(max=7)
        banded = logits.gather(2, positions[..., None].expand(-1, -1, -1, logits.shape[-1]))
        loss = fsa.tdt_loss_pruned(banded, targets, bounds, frame_lens, target_lens, durations, backend="torch")
        gradients = torch.autograd.grad(simple + loss, (am, lm, logits))
        by_device[device] = [x.detach().cpu() for x in (simple, bounds, loss, *gradients, occupancy)]
    for cpu, cuda in zip(by_device["cpu"], by_device["cuda"]):
        tolerance = 1e-6 if cpu.dtype == torch.float32 else 1e-9  # the occupancy is float32
        torch.testing.assert_close(cuda, cpu, atol=tolerance, rtol=tolerance)
