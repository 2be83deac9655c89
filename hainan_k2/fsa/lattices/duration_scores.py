"""Scores of durations in decoding lattices: the model's, and what the frames that a duration skips cost.

A path adds the token scores of the frames where it stops, and of no others. Where a language model, graph or grammar
makes the right tokens expensive, a long duration over them is cheap: it costs log P_D(d | t) once, whatever is said in
the frames between. In training, the frames between the beginnings of two tokens are blank. So a duration d at frame t
has the score

    duration_scale * log P_D(d | t)  +  skip_scale * sum of log P_T(blank | s) over the skipped frames s

    skipped   t + 1 ... min(T, t + max(1, d)) - 1

With skip_scale 1 a duration costs as much as blanks of duration 1 on the same frames. The model was not trained to emit
blank on every skipped frame, so that a small weight is right.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hainan_k2.config import BLANK

_LOWEST = -1e4  # nats, of a blank: sums of -inf cannot be subtracted


def duration_scores(
    token_log_probs: Tensor,
    duration_log_probs: Tensor,
    frame_lens: Tensor,
    durations: Sequence[int],
    duration_scale: float = 1.0,
    skip_scale: float = 0.0,
) -> Tensor:
    """The scores (B, T, D) of durations, as in the module's docstring, with gradients to the log-probabilities.

    Args:
      token_log_probs: (B, T, V) log P_T, natural log, blank = 0.
      duration_log_probs: (B, T, D) log P_D.
      frame_lens: (B,) number of frames of every utterance; later frames are never read.
      durations: the D durations in frames.
    """
    scores = duration_scale * duration_log_probs
    if not skip_scale:
        return scores
    return scores + (skip_scale * skipped_blanks(token_log_probs, frame_lens, durations)).to(scores.dtype)


def skipped_blanks(token_log_probs: Tensor, frame_lens: Tensor, durations: Sequence[int]) -> Tensor:
    """(B, T, D) float64: log P_T(blank) summed over the frames that each duration skips; 0 beyond the last frame."""
    batch, longest = token_log_probs.shape[:2]
    lens = frame_lens.to(token_log_probs.device)[:, None]
    time = torch.arange(longest, device=lens.device).expand(batch, -1)
    blank = token_log_probs[:, :, BLANK].double().clamp(min=_LOWEST)
    until = torch.nn.functional.pad(torch.where(time < lens, blank, 0.0).cumsum(1), (1, 0))  # (B, T + 1)
    steps = torch.tensor(durations, device=lens.device).clamp(min=1)
    arrival = torch.minimum(time[:, :, None] + steps, lens[:, :, None])  # (B, T, D)
    first = torch.minimum(time[:, :, None] + 1, arrival)  # padding has nothing to skip
    return until.gather(1, arrival.flatten(1)).view_as(arrival) - until.gather(1, first.flatten(1)).view_as(arrival)
