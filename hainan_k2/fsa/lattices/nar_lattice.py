r"""The lattice of everything that a HAINAN model can emit without its predictor (arXiv 2410.02597), for a whole batch.

For an utterance of T frames, log-probabilities log P_T(v | t) of tokens and log P_D(d | t) of durations:

    states   2t (t = 0 ... T)      at frame t, before its token
             2t + 1 (t < T)        at frame t, after its token
    start    0
    final    2T + 1
    arcs     (2t)     -- v : log P_T(v | t) -->           (2t + 1)                      for every token v, also blank
             (2t + 1) -- epsilon : w log P_D(d | t) -->   (2 min(T, t + max(1, d)))     for every duration d
             (2T)     -- -1 : 0 -->                       (2T + 1)

    T = 2, durations 0, 1, 2:

    (0) -- tokens --> (1) -- d = 0, 1 --> (2) -- tokens --> (3) -- d = 0, 1, 2 --> (4) -- -1 --> ((5))
                       \-------------------- d = 2 -------------------------------/

Tokens and durations are separate arcs, V + D per frame instead of V * D. Durations that overshoot end at T, and
duration 0 counts as 1. Arcs that become parallel in this way are not merged: with all tokens, all durations and w = 1,
the arcs that leave a state have total probability 1, and the log-semiring total of the lattice is 0. With a skip_scale,
durations also pay for the frames that they skip (hainan_k2.fsa.lattices.duration_scores). Blank is label 0, the epsilon
of k2.

Two int attributes give the times and survive compositions: `frame` (t on token arcs) and `duration` (d on duration
arcs); both are -1 elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.fsa.checks import check_durations
from hainan_k2.fsa.k2 import Fsa
from hainan_k2.fsa.lattices.arcs import Arcs
from hainan_k2.fsa.lattices.duration_scores import duration_scores


def nar_lattice(
    token_log_probs: Tensor,
    duration_log_probs: Tensor,
    frame_lens: Tensor,
    durations: Sequence[int],
    top_k: int | None = None,
    duration_scale: float = 1.0,
    blank_penalty: float = 0.0,
    token_bonus: float = 0.0,
    vocabulary: Tensor | None = None,
    skip_scale: float = 0.0,
) -> Fsa:
    """The decoding lattices of a batch; states, start, final and arcs are those of the module's docstring.

    Args:
      token_log_probs: (B, T, V) log P_T, natural log, blank = 0; may require gradients.
      duration_log_probs: (B, T, D) log P_D.
      frame_lens: (B,) number of frames of every utterance; later frames are never read.
      durations: the D durations in frames.
      top_k: keep only the most probable tokens of every frame, and blank; None keeps all.
      duration_scale: the weight w.
      blank_penalty: subtracted from every blank's score. Paths with fewer tokens add fewer scores and win otherwise.
      token_bonus: added to every token's score.
      vocabulary: (W,) ids of the tokens to keep beside blank, e.g. all tokens of a grammar; None keeps all.
      skip_scale: the weight of log P_T(blank) on the frames that a duration skips.
    Returns:
      A k2.Fsa (FsaVec of B) with attributes `frame` and `duration`, topologically sorted. It is connected unless some
      frames cannot be reached by any sum of durations.
    Raises:
      ValueError: for sizes that do not fit, or more arcs than k2's 32-bit integers can count.

    >>> lattice = nar_lattice(token_log_probs, duration_log_probs, frame_lens, durations, top_k=8)
    >>> hypotheses = hypotheses_from_lattice(shortest_path(lattice), frame_lens, lattice)
    """
    args = (top_k, duration_scale, blank_penalty, token_bonus, vocabulary, skip_scale)
    return nar_arcs(make_tables(token_log_probs, duration_log_probs, frame_lens, durations, *args)).fsa()


@dataclass(frozen=True)
class Tables:
    """The scores of a batch by frame: N frames in all, utterance after utterance, W tokens and D durations each."""

    lens: Tensor  # (B,) int64, frames of every utterance
    durations: Tensor  # (D,) int64
    time: Tensor  # (N,) int64, frame within its utterance
    labels: Tensor  # (N, W) int64, blank and the frame's tokens
    token_scores: Tensor  # (N, W)
    duration_scores: Tensor  # (N, D)
    arrival: Tensor  # (N, D) int64, the frame that each duration leads to

    @property
    def starts(self) -> Tensor:
        """(B,) the row of every utterance's first frame."""
        return self.lens.cumsum(0) - self.lens


def make_tables(
    token_log_probs: Tensor,
    duration_log_probs: Tensor,
    frame_lens: Tensor,
    durations: Sequence[int],
    top_k: int | None,
    duration_scale: float,
    blank_penalty: float,
    token_bonus: float,
    vocabulary: Tensor | None = None,
    skip_scale: float = 0.0,
) -> Tables:
    """The arcs of `nar_lattice` by frame; arguments and errors as there."""
    lens = _check(token_log_probs, duration_log_probs, frame_lens, durations, top_k)
    valid = torch.arange(token_log_probs.shape[1], device=lens.device) < lens[:, None]
    tokens = token_log_probs[valid]  # (N, V)
    weighted = duration_scores(token_log_probs, duration_log_probs, lens, durations, duration_scale, skip_scale)[valid]
    labels = torch.arange(tokens.shape[1], device=lens.device)
    if vocabulary is not None:
        if ((vocabulary < 1) | (vocabulary >= tokens.shape[1])).any():
            raise ValueError(f"vocabulary holds {vocabulary.tolist()}: tokens are 1 to {tokens.shape[1] - 1}")
        labels = torch.cat([labels[:1], vocabulary.to(lens.device)])
        tokens = tokens[:, labels]
    labels = labels.expand_as(tokens)
    if top_k is not None and top_k < tokens.shape[1] - 1:
        best, ids = tokens[:, 1:].topk(top_k, dim=-1)
        tokens = torch.cat([tokens[:, :1], best], dim=1)
        labels = torch.cat([labels[:, :1], labels.gather(1, ids + 1)], dim=1)
    prior = tokens.new_full(tokens.shape[1:], token_bonus)
    prior[BLANK] = -blank_penalty
    utterance, time = valid.nonzero().unbind(1)
    steps = torch.tensor(durations, device=lens.device)
    arrival = torch.minimum(time[:, None] + steps.clamp(min=1), lens[utterance, None])
    return Tables(lens, steps, time, labels, tokens + prior, weighted, arrival)


def _check(
    token_log_probs: Tensor,
    duration_log_probs: Tensor,
    frame_lens: Tensor,
    durations: Sequence[int],
    top_k: int | None,
) -> Tensor:
    """frame_lens as int64 on the scores' device, or ValueError."""
    sizes = token_log_probs.shape
    if token_log_probs.ndim != 3 or duration_log_probs.shape != (*sizes[:2], len(durations)):
        raise ValueError(
            f"token_log_probs {tuple(sizes)} and duration_log_probs {tuple(duration_log_probs.shape)} should be "
            f"(B, T, V) and (B, T, {len(durations)}) for durations {tuple(durations)}"
        )
    check_durations(durations, rnnt=True)
    batch, longest, vocab_size = sizes
    counts = frame_lens.tolist()
    if not batch:
        raise ValueError("token_log_probs holds no utterance: there is no lattice of an empty batch")
    if frame_lens.shape != (batch,) or min(counts) < 0 or max(counts) > longest:
        raise ValueError(f"frame_lens {counts} should be {batch} lengths of 0 to {longest} frames")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k is {top_k}: keep at least one token per frame, or all of them with None")
    width = 1 + min(vocab_size - 1, top_k or vocab_size)
    if sum(counts) * (width + len(durations)) + len(counts) >= 2**31:
        raise ValueError(
            f"{sum(counts)} frames with {width} tokens and {len(durations)} durations have more than the "
            "2^31 arcs that k2 can count: use a smaller batch or top_k"
        )
    return frame_lens.to(token_log_probs.device, torch.int64)


def nar_arcs(tables: Tables) -> Arcs:
    """All arcs of the tables.

    The arcs form a table. Its rows are t = 0 ... T of every utterance, its columns the arcs that leave state 2t, then
    those that leave 2t + 1. Row T holds the final arc alone.
    """
    lens, device, width, durations = tables.lens, tables.lens.device, tables.labels.shape[1], tables.durations
    utterance = torch.repeat_interleave(lens + 1)
    time = torch.arange(len(utterance), device=device) - ((lens + 1).cumsum(0) - lens - 1)[utterance]
    last = time == lens[utterance]
    column = torch.arange(width + len(durations), device=device)
    keep = ~last[:, None] | (column == 0)

    label = torch.full_like(keep, BLANK, dtype=torch.int64)
    label[:, :width] = -1
    label[:, :width][~last] = tables.labels
    target = torch.empty_like(label)
    target[:, :width] = (2 * time + 1)[:, None]
    target[:, width:][~last] = 2 * tables.arrival
    source = (2 * time)[:, None] + (column >= width)
    frame = torch.where((column < width) & ~last[:, None], time[:, None], -1)
    duration = torch.cat([column.new_full((width,), -1), durations]).expand_as(keep)
    scores = torch.cat([tables.token_scores, tables.duration_scores], dim=1).float()
    scores = scores.new_zeros(keep.shape).masked_scatter(~last[:, None], scores)

    fanout = (torch.where(last, 1, width), torch.where(last, 0, len(durations)))
    leaving = torch.stack(fanout, dim=1).flatten()  # of every state
    layer = torch.stack([2 * time, 2 * time + 1], dim=1).flatten()
    columns = (column[keep] for column in (source, target, label, scores, frame, duration))
    return Arcs(2 * lens + 2, leaving, layer, *columns)
