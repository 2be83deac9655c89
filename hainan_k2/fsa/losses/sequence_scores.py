"""Scores of whole texts from training lattices, for rescoring n-best lists and for MWER training."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from hainan_k2.fsa.losses.options import LossOptions
from hainan_k2.fsa.losses.tdt import tdt_loss, tdt_loss_pruned


def tdt_sequence_scores(
    logits: Tensor,
    targets: Tensor,
    frame_lens: Tensor,
    target_lens: Tensor,
    durations: Sequence[int],
    bounds: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """log P(text | audio) of every row, summed over all alignments of the text.

    Args:
      logits: (B, T, U + 1, V + D) raw joint outputs, one row per text; (B, T, S, V + D) if there are bounds.
      targets, frame_lens, target_lens, durations: as for `tdt_loss`.
      bounds: (B, T) as for `tdt_loss_pruned`; the score is then a lower bound.
      backend: as for `LossOptions`.

    Returns:
      (B,) in nats, differentiable; -inf where no path emits all labels of the text.

    Raises:
      ValueError: as for `tdt_loss`.
    """
    options = LossOptions(reduction="none", backend=backend)
    if bounds is None:
        return -tdt_loss(logits, targets, frame_lens, target_lens, durations, options=options)
    return -tdt_loss_pruned(logits, targets, bounds, frame_lens, target_lens, durations, options=options)


def mwer_loss(scores: Tensor, errors: Tensor, reduction: str = "mean") -> Tensor:
    """The expected number of word errors over n-best lists (MWER training, arXiv 1712.01818, section 2.2).

        loss_b = sum_i P_i errors[b, i],    P_i = exp scores[b, i] / sum_j exp scores[b, j]

    Subtracting the list's mean number of errors, as is often done, does not change the gradient.

    Args:
      scores: (B, N) log P(text | audio) of N texts per utterance, e.g. from `tdt_sequence_scores`; -inf fills up
        shorter lists. The texts of a list should differ.
      errors: (B, N) number of word errors of each text; ignored where the score is -inf.
      reduction: "none" (B,), "sum" or "mean".

    Raises:
      ValueError: for shapes that differ, or if no text of an utterance has a finite score.

    >>> mwer_loss(torch.tensor([[-1.0, -1.0]]), torch.tensor([[0, 2]])).item()
    1.0
    """
    if scores.dim() != 2 or scores.shape != errors.shape:
        raise ValueError(f"scores and errors must both be (B, N), got {tuple(scores.shape)}, {tuple(errors.shape)}")
    if reduction not in ("none", "sum", "mean"):
        raise ValueError(f"reduction must be one of none, sum, mean, got {reduction!r}")
    absent = scores.isneginf()
    if absent.all(1).any():
        b = int(absent.all(1).nonzero()[0])
        raise ValueError(f"no text of utterance {b} has a finite score: drop the utterance or add its transcript")
    posterior = scores.softmax(1)
    loss = (posterior * errors.to(posterior.dtype).masked_fill(absent, 0.0)).sum(1)
    return {"none": loss, "sum": loss.sum(), "mean": loss.mean()}[reduction]
