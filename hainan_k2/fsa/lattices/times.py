"""Texts with times of the best paths of any lattice of this package, composed or not.

Toolkits that decode CTC take the number of an arc on a path for its frame. Here a path has no arc for the frames that a
duration skips, and several for one frame; the times are in the attributes `frame` and `duration`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from hainan_k2.frames import ENCODER_FRAME_SHIFT
from hainan_k2.fsa.checks import check_lattice, check_lengths
from hainan_k2.fsa.fsavec import arc_owner
from hainan_k2.fsa.k2 import Fsa
from hainan_k2.fsa.lattices.paths import hypotheses_from_lattice
from hainan_k2.result import WORD_START, Hypothesis


def texts_with_times(
    best: Fsa,
    frame_lens: Tensor,
    pieces: Sequence[str],
    words: Sequence[str] | None = None,
    lattice: Fsa | None = None,
) -> list[Hypothesis]:
    """The hypotheses of linear paths with text, and words with start and end in seconds.

    Args:
      best: linear FsaVec of B with `frame` and `duration`, e.g. from k2.shortest_path; its labels are tokens.
      frame_lens: (B,) number of encoder frames of every utterance.
      pieces: the text of every token, (V,).
      words: the text of every aux_label, if these are words; `best.aux_labels` may be ragged, as k2.remove_epsilon
        leaves it. A word gets the times of the tokens from one that starts a word to the next, wherever among these
        tokens the graph has put the word. None: the words are spelled by the tokens.
      lattice: the FsaVec that `best` is from, for confidences, which are 1 without it.
    Raises:
      ValueError: as hypotheses_from_lattice, and where `best` has no aux_labels or one that is not in `words`.

    >>> best = shortest_path(lattice)
    >>> hypotheses = texts_with_times(best, frame_lens, pieces)
    >>> words = [(word.text, word.start, word.end) for word in hypotheses[0].words]
    """
    hypotheses = hypotheses_from_lattice(best, frame_lens, lattice)
    if words is not None:
        listed = _output_words(best, hypotheses, pieces, words)
        hypotheses = [replace(h, output=output) for h, output in zip(hypotheses, listed)]
    return [hypothesis.with_words(pieces) for hypothesis in hypotheses]


def lattice_times(lattice: Fsa, frame_lens: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """When every arc of a lattice begins and ends: (A,) and (A,) float64, seconds from the start of its utterance.

    An arc that takes no time, such as that of a token whose duration is on the next arc, ends when it begins.

    Args, Raises: as state_frames.

    >>> start, end = lattice_times(lattice, frame_lens)
    """
    at = state_frames(lattice, frame_lens).double() * ENCODER_FRAME_SHIFT
    first = lattice.arcs.shape().row_splits(1)[:-1].long()[arc_owner(lattice)]
    source, target = lattice.arcs.values()[:, :2].long().unbind(1)
    return at[first + source], at[first + target]


def state_frames(lattice: Fsa, frame_lens: Tensor | None = None) -> Tensor:
    """(S,) int64: the encoder frame of every state of an FsaVec.

    It is the `frame` of the arcs that leave the state; where these have none, as at the end and after a composition
    with epsilons, the earliest frame at which an arc arrives. Durations that overshoot end with the utterance.

    Args:
      frame_lens: (B,) number of frames of every utterance. None: where the shortest of its last durations ends, which
        is wrong only if all of them overshoot.
    Raises:
      ValueError: for a single FSA, one that is not sorted, and one without `frame` and `duration` of one value per arc.
    """
    check_lattice(lattice)
    attributes = [getattr(lattice, name, None) for name in ("frame", "duration")]
    if not all(isinstance(value, Tensor) for value in attributes):
        raise ValueError(
            "the lattice needs attributes `frame` and `duration` with one value per arc, as nar_lattice has"
        )
    shape = lattice.arcs.shape()
    first = shape.row_splits(1)[:-1].long()
    source = shape.row_ids(2).long()
    target = first[arc_owner(lattice)] + lattice.arcs.values()[:, 1]
    frame, duration = (value.tolist() for value in attributes if isinstance(value, Tensor))
    own, arrival = [-1] * shape.tot_size(1), [-1] * shape.tot_size(1)
    for state, at in zip(source.tolist(), frame):
        own[state] = max(own[state], at)
    for state, after, at, frames in zip(source.tolist(), target.tolist(), frame, duration):
        now = own[state] if own[state] >= 0 else max(0, arrival[state])
        then = now if frames < 0 else (at if at >= 0 else now) + max(1, frames)
        arrival[after] = then if arrival[after] < 0 else min(arrival[after], then)
    times = torch.tensor([here if here >= 0 else max(0, there) for here, there in zip(own, arrival)], dtype=torch.int64)
    ends = torch.repeat_interleave(shape.row_splits(1).cpu().long().diff())
    if frame_lens is None:
        return torch.minimum(times, times[(shape.row_splits(1)[1:].cpu().long() - 1)[ends]]).to(lattice.labels.device)
    lens = check_lengths("frame_lens", frame_lens, lattice.shape[0], 2**31 - 1, "frames that k2 can count")
    return torch.minimum(times, lens[ends]).to(lattice.labels.device)


def _output_words(
    best: Fsa, hypotheses: Sequence[Hypothesis], pieces: Sequence[str], words: Sequence[str]
) -> list[tuple[tuple[str, int, int], ...]]:
    """Hypothesis.output of every path."""
    if not hasattr(best, "aux_labels"):
        raise ValueError("the paths have no aux_labels, so no words: leave out `words`")
    is_token = (best.labels > 0) & (best.frame >= 0)
    owner, before = arc_owner(best), is_token.long().cumsum(0) - is_token.long()
    arc, output = _outputs(best)
    sizes = torch.tensor([len(hypothesis.tokens) for hypothesis in hypotheses])
    first = (sizes.cumsum(0) - sizes).to(owner.device)
    listed: list[list[tuple[str, int, int]]] = [[] for _ in hypotheses]
    groups = [_groups([pieces[token.id] for token in h.tokens]) for h in hypotheses]
    places = (before - first[owner])[arc].tolist()  # of the arc's own or next token on its path
    for utterance, place, word in zip(owner[arc].tolist(), places, output.tolist()):
        if word >= len(words):
            raise ValueError(f"aux_label {word} is beyond the {len(words)} words")
        if groups[utterance]:
            begin, end = groups[utterance][min(place, len(groups[utterance]) - 1)]
            listed[utterance].append((words[word], begin, end))
    return [tuple(own) for own in listed]


def _groups(texts: Sequence[str]) -> list[tuple[int, int]]:
    """For every token the tokens [begin, end) of its word."""
    starts = [i for i, text in enumerate(texts) if i == 0 or text.startswith(WORD_START)]
    groups = zip(starts, [*starts[1:], len(texts)])
    return [(begin, end) for begin, end in groups for _ in range(begin, end)]


def _outputs(best: Fsa) -> tuple[Tensor, Tensor]:
    """The arc and the word of every output on the paths, (N,) int64 each; an arc of a ragged attribute may have any
    number of them."""
    aux = best.aux_labels
    if isinstance(aux, Tensor):
        arc, output = torch.arange(len(aux), device=aux.device), aux.long()
    else:
        arc, output = aux.shape.row_ids(1).long(), aux.values.long()
    kept = output > 0
    return arc[kept], output[kept]
