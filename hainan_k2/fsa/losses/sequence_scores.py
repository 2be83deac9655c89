"""Scores of whole texts from the training lattices: to rescore n-best lists, to train on expected errors."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

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
    """log P(text | audio) of every row: the log of the sum over all its alignments.

    Args:
      logits: (B, T, U + 1, V + D) raw joint outputs, one row per text; (B, T, S, V + D) if there are bounds.
      targets, frame_lens, target_lens, durations, backend: as of `tdt_loss`.
      bounds: (B, T) as of `tdt_loss_pruned`; the score is then a lower bound.

    Returns:
      (B,) in nats, differentiable; -inf where no path can spell the text.

    Raises:
      ValueError: as `tdt_loss`.
    """
    lens = {"frame_lens": frame_lens, "target_lens": target_lens}
    common = {"durations": durations, "reduction": "none", "backend": backend, **lens}
    if bounds is None:
        return -tdt_loss(logits, targets, **common)
    return -tdt_loss_pruned(logits, targets, bounds, **common)


def mwer_loss(scores: Tensor, errors: Tensor, reduction: str = "mean") -> Tensor:
    """Expected number of word errors over n-best lists (MWER training, arXiv 1712.01818, section 2.2).

        loss_b = sum_i P_i errors[b, i],    P_i = exp scores[b, i] / sum_j exp scores[b, j]

    Subtracting the list's mean number of errors, as is often done, would leave the gradient as it is.

    Args:
      scores: (B, N) log P(text | audio) of N texts per utterance, as of `tdt_sequence_scores`; -inf where a
        list is shorter. One list's texts should differ.
      errors: (B, N) number of word errors of each text; does not matter where the score is -inf.
      reduction: "none" (B,), "sum" or "mean".

    Raises:
      ValueError: for shapes that differ, or an utterance none of whose texts has a finite score.
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
