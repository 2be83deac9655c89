"""Paths through decoding lattices: the best ones, their tokens with times, and the tokens' posteriors.

A path is a linear FSA:

    (0) -- token or epsilon --> (1) -- token or epsilon --> (2) ... -- -1 --> ((final))

Its arcs have the attributes of nar_lattice, which any composition keeps: `frame` on the arc of a token, `duration` on
the same or a later arc, -1 elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.fsa.checks import check_lattice, check_lengths
from hainan_k2.fsa.fsavec import arc_owner
from hainan_k2.fsa.k2 import Fsa, load_k2, why_no_k2
from hainan_k2.fsa.lattices.arcs import Arcs
from hainan_k2.fsa.lattices.layers import arc_posteriors, best_paths
from hainan_k2.result import Hypothesis, hypotheses_from_lists

# From labels and durations (P,) of the arcs on paths to the durations (P,) of their tokens, where they differ.
Durations = Optional[Callable[[Tensor, Tensor], Tensor]]


def shortest_path(lattice: Fsa) -> Fsa:
    """The best path of every lattice of an FsaVec, as an FsaVec of linear FSAs with the same attributes.

    Raises:
      ValueError: for a single FSA, and for one that is not topologically sorted.
    """
    k2 = load_k2()
    check_lattice(lattice)
    return k2.shortest_path(lattice, use_double_scores=True)


def path_tokens(best: Fsa) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Utterance, token, frame and duration, each (N,) int64, of the tokens on linear paths, in order.

    A token's duration is that of the next arc that has one: a composition may put arcs in between.
    """
    return arc_tokens(arc_owner(best), best.labels, best.frame, best.duration)


def arc_tokens(path: Tensor, label: Tensor, frame: Tensor, duration: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`path_tokens` of arcs (A,) in the order of their paths: the path of each arc, and its attributes."""
    at = torch.arange(len(label), device=label.device)
    next_duration = torch.where(duration >= 0, at, torch.full_like(at, len(at)))
    next_duration = next_duration.flip(0).cummin(0).values.flip(0)  # (A,) the arc that has it
    tokens = ((label > BLANK) & (frame >= 0)).nonzero()[:, 0]
    return path[tokens].long(), label[tokens].long(), frame[tokens].long(), duration[next_duration[tokens]].long()


def token_posteriors(
    lattice: Fsa, utterance: Tensor, token: Tensor, frame: Tensor, frame_lens: Tensor, path: Tensor | None = None
) -> Tensor:
    """The posterior of every token of a path: summed over the frames nearer to it than to its neighbours.

    A token's exact frame is often uncertain when the token is not; the posterior of a single arc would be too low.

    Args:
      lattice: FsaVec of B.
      utterance, token, frame: (N,) int64 from path_tokens.
      frame_lens: (B,) number of frames of every utterance.
      path: (N,) int64, the path of each token, if an utterance has several paths.
    Returns:
      (N,) float64 in [0, 1].
    """
    if not len(token):
        return torch.zeros(0, dtype=torch.float64, device=token.device)
    posterior = lattice.get_arc_post(use_double_scores=True, log_semiring=True).exp()
    arcs = arc_owner(lattice), lattice.labels.long(), lattice.frame.long(), posterior
    return _posteriors_nearby(*arcs, utterance, token, frame, frame_lens, path)


def _posteriors_nearby(
    arc_utterance: Tensor,
    arc_label: Tensor,
    arc_frame: Tensor,
    arc_posterior: Tensor,
    utterance: Tensor,
    token: Tensor,
    frame: Tensor,
    frame_lens: Tensor,
    path: Tensor | None = None,
) -> Tensor:
    """`token_posteriors` from the posteriors of the lattice's arcs, (A,) each."""
    device, span = frame.device, int(frame_lens.max()) + 1
    vocab = int(arc_label.max()) + 1

    def key(owner: Tensor, label: Tensor, at: Tensor) -> Tensor:
        return (owner * vocab + label) * span + at

    is_token = (arc_label > BLANK) & (arc_frame >= 0)
    keys, order = key(arc_utterance[is_token], arc_label[is_token], arc_frame[is_token]).sort()
    below = torch.nn.functional.pad(arc_posterior[is_token][order].cumsum(0), (1, 0))

    middle = torch.div(frame[:-1] + frame[1:], 2, rounding_mode="floor")  # last frame nearer to the left one
    path = utterance if path is None else path
    change = path[:-1] != path[1:]
    lens = frame_lens.to(device)[utterance]
    last = torch.where(change, lens[:-1] - 1, middle)
    first = torch.where(change, torch.zeros_like(middle), middle + 1)
    first, last = torch.cat([first.new_zeros(len(frame[:1])), first]), torch.cat([last, lens[-1:] - 1])
    upper = torch.searchsorted(keys, key(utterance, token, last), right=True)
    lower = torch.searchsorted(keys, key(utterance, token, first))
    return (below[upper] - below[lower]).clamp(0.0, 1.0)


def hypotheses_from_lattice(best: Fsa, frame_lens: Tensor, lattice: Fsa | None = None) -> list[Hypothesis]:
    """The hypotheses of linear paths, one per utterance.

    Args:
      best: linear FsaVec of B with `frame` and `duration`, e.g. from shortest_path.
      frame_lens: (B,) number of frames of every utterance.
      lattice: the FsaVec that `best` is from. Its token posteriors become the confidences, which are 1 without it.
    Raises:
      ValueError: if `best` has no `frame` and `duration`, for a single FSA or one that is not topologically sorted, and
        if `best`, `lattice` and frame_lens differ in B.

    >>> hypotheses = hypotheses_from_lattice(shortest_path(lattice), frame_lens, lattice)
    >>> tokens = [(token.id, token.frame, token.confidence) for token in hypotheses[0].tokens]
    """
    check_lattice(best, "the FSA of best paths")
    check_lengths("frame_lens", frame_lens, best.shape[0], 2**31 - 1, "frames that k2 can count")
    if lattice is not None:
        check_lattice(lattice)
        if lattice.shape[0] != best.shape[0]:
            raise ValueError(f"{best.shape[0]} best paths of {lattice.shape[0]} lattices: as many are needed")
    if not (hasattr(best, "frame") and hasattr(best, "duration")):
        raise ValueError("the paths have no attributes `frame` and `duration`: compose with what nar_lattice made")
    utterance, token, frame, duration = path_tokens(best)
    if lattice is None:
        confidence = torch.ones(len(token), device=token.device)
    else:
        confidence = token_posteriors(lattice, utterance, token, frame, frame_lens)
    score = best.get_tot_scores(use_double_scores=True, log_semiring=False)
    columns = (utterance, token, frame, duration, confidence, score, frame_lens)
    return hypotheses_from_lists(*(column.tolist() for column in columns))


def best_hypotheses(arcs: Arcs, frame_lens: Tensor, durations: Durations = None) -> list[Hypothesis]:
    """The hypotheses of the best paths, with posteriors as confidences: by k2, or by torch where k2 does not work.

    durations: of tokens, where the arcs have others (CTC).
    """
    if not why_no_k2():
        lattice = arcs.fsa()
        best = shortest_path(lattice)
        if durations is not None:
            best.duration = durations(best.labels, best.duration)
        return hypotheses_from_lattice(best, frame_lens, lattice)
    owner, (path, score) = arcs.owner(), best_paths(arcs)
    label, duration = arcs.label[path], arcs.duration[path]
    duration = duration if durations is None else durations(label, duration)
    utterance, token, frame, duration = arc_tokens(owner[path], label, arcs.frame[path], duration)
    confidence = score[:0]
    if len(token):
        posteriors = owner, arcs.label, arcs.frame, arc_posteriors(arcs)
        confidence = _posteriors_nearby(*posteriors, utterance, token, frame, frame_lens)
    columns = (utterance, token, frame, duration, confidence, score, frame_lens)
    return hypotheses_from_lists(*(column.tolist() for column in columns))


def best_tokens(arcs: Arcs) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Utterance, token, frame and duration (N,) int64 of the tokens on the best paths, and the paths' scores (B,)."""
    if not why_no_k2():
        best = shortest_path(arcs.fsa())
        return *path_tokens(best), best.get_tot_scores(use_double_scores=True, log_semiring=False)
    path, score = best_paths(arcs)
    columns = (arcs.owner(), arcs.label, arcs.frame, arcs.duration)
    return *arc_tokens(*(column[path] for column in columns)), score
