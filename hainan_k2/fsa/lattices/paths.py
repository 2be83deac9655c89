"""What paths through a decoding lattice say, when, and how surely.

A path is a linear FSA whose arcs tell the time as those of nar_lattice do, from which it comes by way of
any composition: `frame` on the arc of a token, `duration` on a later arc, -1 elsewhere.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.fsa.checks import check_lattice, check_lengths
from hainan_k2.fsa.fsavec import arc_owner
from hainan_k2.fsa.k2 import load_k2
from hainan_k2.result import Hypothesis, hypotheses_from_lists


def shortest_path(lattice):
    """The best path of every lattice of an FsaVec, as an FsaVec of linear FSAs that keeps the attributes.

    ValueError for a single FSA and for one that is not topologically sorted.
    """
    k2 = load_k2()
    check_lattice(lattice)
    return k2.shortest_path(lattice, use_double_scores=True)


def path_tokens(best) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """utterance, token, frame and duration, each (N,) int64, of the tokens on linear paths, in order.

    The paths may come from a composition of nar_lattice with any grammar: a token's duration is on the next
    arc that bears one.
    """
    return arc_tokens(arc_owner(best), best.labels, best.frame, best.duration)


def arc_tokens(path: Tensor, label: Tensor, frame: Tensor, duration: Tensor) -> tuple[Tensor, ...]:
    """path_tokens of the arcs (A,) of paths, path after path: which path each is on, and its attributes."""
    at = torch.arange(len(label), device=label.device)
    bearer = torch.where(duration >= 0, at, torch.full_like(at, len(at)))
    bearer = bearer.flip(0).cummin(0).values.flip(0)
    emitted = ((label > BLANK) & (frame >= 0)).nonzero()[:, 0]
    return (*(c[emitted].long() for c in (path, label, frame)), duration[bearer[emitted]].long())


def token_posteriors(
    lattice, utterance: Tensor, token: Tensor, frame: Tensor, frame_lens: Tensor, path: Tensor | None = None
) -> Tensor:
    """The posterior of every path token: that the lattice says it at a frame nearer to it than to its
    neighbours.

    The exact frame of a token is often uncertain when the token is not, so a single arc's posterior would be
    too low.

    Args:
      utterance, token, frame: (N,) int64 as from path_tokens.
      path: (N,) int64, the path each token is on, where an utterance has several.
    Returns:
      (N,) float64 in [0, 1].
    """
    if not len(token):
        return torch.zeros(0, dtype=torch.float64, device=token.device)
    device, span = frame.device, int(frame_lens.max()) + 1
    vocab = int(lattice.labels.max()) + 1

    def key(owner: Tensor, label: Tensor, at: Tensor) -> Tensor:
        return (owner * vocab + label) * span + at

    said = (lattice.labels > BLANK) & (lattice.frame >= 0)
    mass = lattice.get_arc_post(use_double_scores=True, log_semiring=True)[said].exp()
    keys, order = key(arc_owner(lattice)[said], lattice.labels[said].long(), lattice.frame[said].long()).sort()
    below = torch.nn.functional.pad(mass[order].cumsum(0), (1, 0))

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


def hypotheses_from_lattice(best, frame_lens: Tensor, lattice=None) -> list[Hypothesis]:
    """Hypotheses of linear paths, one per utterance of frame_lens (B,).

    Args:
      best: linear FsaVec of B, as from shortest_path; it has `frame` and `duration`.
      lattice: what `best` was chosen from; gives the tokens' posteriors as confidences, which are 1 without
      it.
    Raises:
      ValueError: if `best` does not tell the time, for a single FSA or one that is not topologically sorted, and where
        `best`, `lattice` and frame_lens are not of the same B.
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
