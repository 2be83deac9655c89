"""Sequence scores against the enumeration of all texts, and the MWER loss against its definition."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from hainan_k2.fsa import mwer_loss, tdt_sequence_scores
from tests.fsa.losses.batches import backends, random_batch
from tests.oracles.loss import brute_force, num_errors

DURATIONS = (1, 2, 3)  # without 0, T frames emit at most T - 1 labels: all texts can be enumerated


def all_texts(num_frames, vocab_size):
    return [y for u in range(num_frames) for y in product(range(1, vocab_size), repeat=u)]


@backends
def test_scores_of_all_texts(backend):
    """A joint that ignores the text: the scores of all texts against the sum over their paths."""
    frames, vocab_size = 4, 3
    texts = all_texts(frames, vocab_size)
    joint = torch.randn(1, frames, 1, vocab_size + 3, dtype=torch.float64)
    logits = joint.expand(len(texts), -1, frames, -1).contiguous()
    targets = torch.tensor([[*y, *[0] * (frames - 1 - len(y))] for y in texts])
    lens = torch.full((len(texts),), frames), torch.tensor([len(y) for y in texts])
    scores = tdt_sequence_scores(logits, targets, *lens, DURATIONS, backend=backend)
    for y, score in zip(texts, scores.tolist()):
        assert -score == pytest.approx(brute_force(logits[0, :, : len(y) + 1].numpy(), y, DURATIONS)[0])
    assert scores.exp().sum() < 1  # the rest are paths that overshoot the last frame


@backends
def test_scores_in_a_band(backend):
    logits, targets, *lens = random_batch(np.random.default_rng(0), [(9, 4), (7, 1)], DURATIONS)
    full = tdt_sequence_scores(logits, targets, *lens, DURATIONS, backend=backend)
    bounds = torch.zeros(2, 9, dtype=torch.int64)
    wide = tdt_sequence_scores(logits, targets, *lens, DURATIONS, bounds=bounds, backend=backend)
    torch.testing.assert_close(wide, full)
    bounds[0] = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2])
    narrow = tdt_sequence_scores(
        torch.stack([logits[0][torch.arange(9)[:, None], bounds[0][:, None] + torch.arange(3)]]),
        targets[:1],
        *(x[:1] for x in lens),
        DURATIONS,
        bounds=bounds[:1],
        backend=backend,
    )
    assert -np.inf < narrow.item() < full[0].item()


def test_mwer_loss_is_the_expected_number_of_errors():
    reference, texts = (1, 2, 1), all_texts(4, 3)
    errors = torch.tensor([num_errors(reference, y) for y in texts], dtype=torch.float64)
    scores = torch.randn(2, len(texts), dtype=torch.float64)
    scores[1, 5:] = -torch.inf
    scores.requires_grad_()
    loss = mwer_loss(scores, errors.expand(2, -1), reduction="none")
    for b, n in ((0, len(texts)), (1, 5)):
        weights = [np.exp(x) for x in scores[b, :n].tolist()]
        expected = sum(w * e for w, e in zip(weights, errors.tolist())) / sum(weights)
        assert loss[b].item() == pytest.approx(expected)
    assert mwer_loss(scores, errors.expand(2, -1), "sum").item() == pytest.approx(loss.sum().item())
    mwer_loss(scores, errors.expand(2, -1)).backward()
    posterior = scores.detach().softmax(1)
    torch.testing.assert_close(scores.grad, posterior * (errors - loss.detach()[:, None]) / 2)


def test_bad_lists_are_named():
    with pytest.raises(ValueError, match=r"\(2, 3\), \(2, 4\)"):
        mwer_loss(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="no text of utterance 1"):
        mwer_loss(torch.tensor([[0.0, -torch.inf], [-torch.inf, -torch.inf]]), torch.zeros(2, 2))
    with pytest.raises(ValueError, match="mean_volume"):
        mwer_loss(torch.zeros(2, 3), torch.zeros(2, 3), "mean_volume")
