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

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.fsa.checks import check_durations
from hainan_k2.result import Hypothesis, hypotheses_from_lists


def nar_lattice(
    token_log_probs: Tensor,
    duration_log_probs: Tensor,
    frame_lens: Tensor,
    durations: Sequence[int],
    top_k: int | None = None,
    duration_scale: float = 1.0,
    blank_penalty: float = 0.0,
    token_bonus: float = 0.0,
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
    Returns:
      A k2.Fsa (FsaVec of B), topologically sorted, connected unless durations rule frames out, with
      attributes `frame` and `duration`.
    Raises:
      ValueError: where sizes do not fit or the arcs are too many for k2's 32-bit counts.
    """
    lens = _check(token_log_probs, duration_log_probs, frame_lens, durations, top_k)
    valid = torch.arange(token_log_probs.shape[1], device=lens.device) < lens[:, None]
    tokens, spoken = token_log_probs[valid], duration_log_probs[valid]  # (N, V), (N, D)
    labels = torch.arange(tokens.shape[1], device=lens.device).expand_as(tokens)
    if top_k is not None and top_k < tokens.shape[1] - 1:
        best, ids = tokens[:, 1:].topk(top_k, dim=-1)
        tokens = torch.cat([tokens[:, :1], best], dim=1)
        labels = torch.cat([torch.full_like(ids[:, :1], BLANK), ids + 1], dim=1)
    prior = tokens.new_full(tokens.shape[1:], token_bonus)
    prior[BLANK] = -blank_penalty
    scores = torch.cat([tokens + prior, duration_scale * spoken], dim=1).float()
    return _assemble(labels, scores, lens, torch.tensor(durations, device=lens.device))


def _check(
    tokens: Tensor, spoken: Tensor, frame_lens: Tensor, durations: Sequence[int], top_k: int | None
) -> Tensor:
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


def _assemble(labels: Tensor, scores: Tensor, lens: Tensor, durations: Tensor):
    """The FsaVec of token labels (N, W) and scores (N, W + D) of all N frames of all utterances.

    Arcs are laid out as a table with a row for every t in [0, T] of every utterance and a column for every
    arc that leaves 2t, then 2t+1. Row T has the final arc alone.
    """
    import _k2
    import k2

    device, width = labels.device, labels.shape[1]
    utterance = torch.repeat_interleave(lens + 1)
    time = torch.arange(len(utterance), device=device) - ((lens + 1).cumsum(0) - lens - 1)[utterance]
    last = time == lens[utterance]
    column = torch.arange(scores.shape[1], device=device)
    keep = ~last[:, None] | (column == 0)

    label = torch.full_like(keep, BLANK, dtype=torch.int64)
    label[:, :width] = -1
    label[:, :width][~last] = labels
    landing = torch.minimum(time[:, None] + durations.clamp(min=1), lens[utterance][:, None])
    source = (2 * time)[:, None] + (column >= width)
    target = torch.cat([(2 * time + 1)[:, None].expand(-1, width), 2 * landing], dim=1)
    frame = torch.where((column < width) & ~last[:, None], time[:, None], -1)
    duration = torch.cat([column.new_full((width,), -1), durations]).expand_as(keep)
    arcs = torch.stack([source, target, label, torch.zeros_like(label)], dim=-1)[keep].int()

    def splits(counts: Tensor) -> Tensor:
        return torch.nn.functional.pad(counts.cumsum(0), (1, 0)).int()

    fanout = (torch.where(last, 1, width), torch.where(last, 0, len(durations)))
    leaving = torch.stack(fanout, dim=1).flatten()  # of every state
    shape1, shape2 = (
        k2.ragged.create_ragged_shape2(row_splits=splits(counts), cached_tot_size=size)
        for counts, size in ((2 * lens + 2, len(leaving)), (leaving, len(arcs)))
    )
    lattice = k2.Fsa(_k2.RaggedArc(shape1.compose(shape2), arcs))
    lattice.scores = scores.new_zeros(keep.shape).masked_scatter(~last[:, None], scores)[keep]
    lattice.frame, lattice.duration = frame[keep].int(), duration[keep].int()
    lattice.frame_filler = lattice.duration_filler = -1
    return lattice


def shortest_path(lattice):
    """The best path of every lattice, as an FsaVec of linear FSAs that keeps the attributes."""
    import k2

    return k2.shortest_path(lattice, use_double_scores=True)


def path_tokens(best) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """utterance, token, frame and duration, each (N,) int64, of the tokens on linear paths, in order.

    The paths may come from a composition of nar_lattice with any grammar: a token's duration is on the next
    arc that bears one.
    """
    at = torch.arange(len(best.labels), device=best.labels.device)
    bearer = torch.where(best.duration >= 0, at, torch.full_like(at, len(at)))
    bearer = bearer.flip(0).cummin(0).values.flip(0)
    emitted = ((best.labels > BLANK) & (best.frame >= 0)).nonzero()[:, 0]
    columns = (_owner(best), best.labels, best.frame)
    return (*(c[emitted].long() for c in columns), best.duration[bearer[emitted]].long())


def _owner(lattice) -> Tensor:
    """(A,) int64: the utterance of every arc."""
    shape = lattice.arcs.shape()
    return shape.row_ids(1)[shape.row_ids(2).long()].long()


def token_posteriors(lattice, utterance: Tensor, token: Tensor, frame: Tensor, frame_lens: Tensor) -> Tensor:
    """The posterior of every path token: that the lattice says it at a frame nearer to it than to its
    neighbours.

    The exact frame of a token is often uncertain when the token is not, so a single arc's posterior would be
    too low.

    Args:
      utterance, token, frame: (N,) int64 as from path_tokens.
    Returns:
      (N,) float64 in [0, 1].
    """
    device, span = frame.device, int(frame_lens.max()) + 1
    vocab = int(lattice.labels.max()) + 1

    def key(owner: Tensor, label: Tensor, at: Tensor) -> Tensor:
        return (owner * vocab + label) * span + at

    said = (lattice.labels > BLANK) & (lattice.frame >= 0)
    mass = lattice.get_arc_post(use_double_scores=True, log_semiring=True)[said].exp()
    keys, order = key(_owner(lattice)[said], lattice.labels[said].long(), lattice.frame[said].long()).sort()
    below = torch.nn.functional.pad(mass[order].cumsum(0), (1, 0))

    middle = torch.div(frame[:-1] + frame[1:], 2, rounding_mode="floor")  # last frame nearer to the left one
    change = utterance[:-1] != utterance[1:]
    lens = frame_lens.to(device)[utterance]
    last = torch.where(change, lens[:-1] - 1, middle)
    first = torch.where(change, torch.zeros_like(middle), middle + 1)
    first, last = torch.cat([first.new_zeros(len(frame[:1])), first]), torch.cat([last, lens[-1:] - 1])
    upper = torch.searchsorted(keys, key(utterance, token, last), right=True)
    lower = torch.searchsorted(keys, key(utterance, token, first))
    return (below[upper] - below[lower]).clamp(0.0, 1.0)


def hypotheses_from_lattice(best, frame_lens: Tensor, lattice=None) -> list[Hypothesis]:
    """Hypotheses of linear paths, one per utterance of frame_lens (B,).

    Args:
      best: linear FsaVec of B, as from shortest_path; it has `frame` and `duration`.
      lattice: what `best` was chosen from; gives the tokens' posteriors as confidences, which are 1 without
      it.
    """
    utterance, token, frame, duration = path_tokens(best)
    if lattice is None:
        confidence = torch.ones(len(token), device=token.device)
    else:
        confidence = token_posteriors(lattice, utterance, token, frame, frame_lens)
    score = best.get_tot_scores(use_double_scores=True, log_semiring=False)
    columns = (utterance, token, frame, duration, confidence, score, frame_lens)
    return hypotheses_from_lists(*(column.tolist() for column in columns))
