"""The lattice of everything that HAINAN can say without its predictor (arXiv 2410.02597), for a whole batch.

Of an utterance with T frames: states 2t ("at frame t", t <= T) and 2t+1 ("at frame t, token said"), start 0,
final 2T+1.

    (2t) --- v : log P_T(v | t) ---> (2t+1) --- epsilon : w log P_D(d | t) ---> (2 min(T, t + max(1, d)))
    (2T) --- -1 : 0 ---> (2T+1)

Factored like this it has V + D arcs per frame, not V D. Durations that overshoot land on T, duration 0 counts
as 1, and arcs that come to coincide by this are kept apart: with all tokens, all durations and w = 1
everything that can happen at a frame has probability one, so the log-semiring total is exactly 0. Blank is
label 0, k2's epsilon.

Two int attributes tell the time wherever the arcs go: `frame` on token arcs, `duration` on duration arcs, -1
elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.fsa.checks import check_durations
from hainan_k2.fsa.fsavec import ragged_arcs
from hainan_k2.fsa.k2 import load_k2


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
):
    """The decoding lattices of a batch.

    Args:
      token_log_probs: (B, T, V) log P_T, natural log, blank = 0; may require gradients.
      duration_log_probs: (B, T, D) log P_D.
      frame_lens: (B,) valid frames of every utterance; what lies behind is never read.
      durations: the D durations in frames.
      top_k: most probable tokens kept at every frame, with blank beside them; None keeps all.
      duration_scale: the weight w.
      blank_penalty: subtracted from every blank, which otherwise win by adding fewer terms.
      token_bonus: added to every token.
      vocabulary: (W,) ids of the only tokens to keep, blank beside them; a grammar needs all of its own tokens, and no
        others, at every frame. None keeps all.
    Returns:
      A k2.Fsa (FsaVec of B), topologically sorted, connected unless durations rule frames out, with
      attributes `frame` and `duration`.
    Raises:
      ValueError: where sizes do not fit or the arcs are too many for k2's 32-bit counts.
    """
    args = (top_k, duration_scale, blank_penalty, token_bonus, vocabulary)
    tables = make_tables(token_log_probs, duration_log_probs, frame_lens, durations, *args)
    return _assemble(tables, torch.tensor(durations, device=tables.lens.device))


@dataclass(frozen=True)
class Tables:
    """What can happen at the N valid frames of a batch, utterance after utterance."""

    lens: Tensor  # (B,) int64
    time: Tensor  # (N,) int64: frame of the utterance
    labels: Tensor  # (N, W) int64: blank and the frame's best tokens
    tokens: Tensor  # (N, W): their scores
    spoken: Tensor  # (N, D): scores of the durations
    landing: Tensor  # (N, D) int64: the frame that each leads to

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
) -> Tables:
    """The arcs of nar_lattice, whose arguments these are, by frame."""
    lens = _check(token_log_probs, duration_log_probs, frame_lens, durations, top_k)
    valid = torch.arange(token_log_probs.shape[1], device=lens.device) < lens[:, None]
    tokens, spoken = token_log_probs[valid], duration_log_probs[valid]  # (N, V), (N, D)
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
    step = torch.tensor(durations, device=lens.device).clamp(min=1)
    landing = torch.minimum(time[:, None] + step, lens[utterance, None])
    return Tables(lens, time, labels, tokens + prior, duration_scale * spoken, landing)


def _check(tokens: Tensor, spoken: Tensor, frame_lens: Tensor, durations: Sequence[int], top_k: int | None) -> Tensor:
    """frame_lens as int64 on the scores' device, or ValueError."""
    if tokens.ndim != 3 or spoken.shape != (*tokens.shape[:2], len(durations)):
        raise ValueError(
            f"token_log_probs {tuple(tokens.shape)} and duration_log_probs {tuple(spoken.shape)} should be "
            f"(B, T, V) and (B, T, {len(durations)}) for durations {tuple(durations)}"
        )
    check_durations(durations)
    batch, longest, vocab_size = tokens.shape
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
    return frame_lens.to(tokens.device, torch.int64)


def _assemble(tables: Tables, durations: Tensor):
    """The FsaVec of all that is in the tables.

    Arcs are laid out as a table with a row for every t in [0, T] of every utterance and a column for every
    arc that leaves 2t, then 2t+1. Row T has the final arc alone.
    """
    k2 = load_k2()
    lens, device, width = tables.lens, tables.lens.device, tables.labels.shape[1]
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
    target[:, width:][~last] = 2 * tables.landing
    source = (2 * time)[:, None] + (column >= width)
    frame = torch.where((column < width) & ~last[:, None], time[:, None], -1)
    duration = torch.cat([column.new_full((width,), -1), durations]).expand_as(keep)
    arcs = torch.stack([source, target, label, torch.zeros_like(label)], dim=-1)[keep].int()

    fanout = (torch.where(last, 1, width), torch.where(last, 0, len(durations)))
    leaving = torch.stack(fanout, dim=1).flatten()  # of every state
    lattice = k2.Fsa(ragged_arcs(2 * lens + 2, leaving, arcs))
    scores = torch.cat([tables.tokens, tables.spoken], dim=1).float()
    lattice.scores = scores.new_zeros(keep.shape).masked_scatter(~last[:, None], scores)[keep]
    lattice.frame, lattice.duration = frame[keep].int(), duration[keep].int()
    lattice.frame_filler = lattice.duration_filler = -1
    return lattice
