"""Random batches for tests of the losses, with any lengths, durations and padding."""

from __future__ import annotations

import pytest
import torch
from hypothesis import strategies as st

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
WITH_ONE = [d for d in DURATIONS if 1 in d]  # these reach every number of frames
shapes_of = st.lists(st.tuples(st.integers(1, 24), st.integers(0, 12)), min_size=1, max_size=4)
backends = pytest.mark.parametrize("backend", BACKENDS)


def random_batch(rng, shapes, durations, vocab_size=4, pad=(0, 0), scale=2.0, dtype=torch.float64):
    """(logits, targets, frame_lens, target_lens) of utterances of `shapes` (T, U); nan at padding."""
    frames, labels = max(t for t, _ in shapes) + pad[0], max(u for _, u in shapes) + pad[1]
    logits = torch.full((len(shapes), frames, labels + 1, vocab_size + len(durations)), torch.nan, dtype=dtype)
    targets = torch.zeros(len(shapes), labels, dtype=torch.int64)
    for b, (t, u) in enumerate(shapes):
        logits[b, :t, : u + 1] = torch.from_numpy(scale * rng.standard_normal((t, u + 1, logits.size(-1)))).to(dtype)
        targets[b, :u] = torch.from_numpy(rng.integers(1, vocab_size, u))
    frame_lens, target_lens = torch.tensor(shapes).T
    return logits, targets, frame_lens, target_lens


def additive(rng, shapes, num_durations, vocab_size=4, scale=2.0, pad=(0, 0)):
    """am, lm, targets, frame_lens, target_lens; nan at padding."""
    frames, labels = max(t for t, _ in shapes) + pad[0], max(u for _, u in shapes) + pad[1]
    am, lm = (
        torch.from_numpy(scale * rng.standard_normal((len(shapes), n, vocab_size + num_durations)))
        for n in (frames, labels + 1)
    )
    targets = torch.from_numpy(rng.integers(1, vocab_size, (len(shapes), labels)))
    for b, (t, u) in enumerate(shapes):
        am[b, t:], lm[b, u + 1 :], targets[b, u:] = torch.nan, torch.nan, 0
    return (am, lm, targets, *torch.tensor(shapes).T)


def in_band(logits, bounds, band):
    """(B, T, S, C) of logits (B, T, U + 1, C)."""
    position = (bounds.unsqueeze(-1) + torch.arange(band)).clamp(max=logits.size(2) - 1)
    return logits.gather(2, position.unsqueeze(-1).expand(-1, -1, -1, logits.size(-1)))


def value_and_gradient(loss, logits, *args, **options):
    logits = logits.detach().requires_grad_()
    value = loss(logits, *args, **options)
    value.sum().backward()
    return value.detach(), logits.grad
