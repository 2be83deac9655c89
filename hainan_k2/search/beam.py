"""Autoregressive beam search for TDT, batched over utterances and hypotheses in tensor operations.

Because of durations, the hypotheses of an utterance are at different frames. Two rules make them comparable:

* Only the hypotheses at the earliest frame of their utterance are extended, so that no hypothesis is more than the
  longest duration ahead of another.
* The score of a hypothesis is the log-probability of its tokens, whatever its frame. The model is normalised locally:
  at every (frame, history) the probabilities of all tokens and durations sum to one. So the score is the total
  log-probability of all continuations. Scores at different frames can be compared as they are, and are not divided by
  the number of frames or tokens.

Hypotheses with the same tokens at the same frame are merged: their probabilities are added, and the times of the more
probable one are kept. With a wide enough beam the scores are the exact log-probabilities of token sequences, summed
over all alignments.

With hotwords, a score includes a credit for each unfinished phrase, and at the end the weights of the complete ones
(hainan_k2.fsa.language.hotwords). Each utterance keeps its best hypotheses by scores with credit and its best by
scores without. Otherwise hypotheses with an unfinished phrase would displace all others.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.fsa.language.hotwords import HotwordGraph
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis, hypotheses_from_lists
from hainan_k2.search.biasing import scaled_hotwords
from hainan_k2.search.emissions import Frames
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import NO_RESOURCES, DecodingResources


@dataclass(frozen=True)
class Beam:
    """H hypotheses of a batch; every field is (H,) and, unless stated otherwise, int64."""

    utterance: Tensor
    score: Tensor  # float64
    time: Tensor  # the next frame; the utterance's length when finished
    count: Tensor  # tokens emitted on that frame
    history: Tensor  # 64-bit hash of its tokens
    phrase: Tensor  # state of the hotword automaton
    node: Tensor  # index of its last token in the trail, -1 for none
    source: Tensor  # of the last step: the row that was extended,
    token: Tensor  # the token, or blank,
    duration: Tensor  # its duration, frames,
    confidence: Tensor  # and its probability, float

    def __getitem__(self, rows: Tensor) -> Beam:
        return Beam(*(getattr(self, f.name)[rows] for f in fields(self)))

    @classmethod
    def join(cls, a: Beam, b: Beam) -> Beam:
        return cls(*(torch.cat([getattr(a, f.name), getattr(b, f.name)]) for f in fields(cls)))


@torch.no_grad()
def ar_beam(
    model: Hainan, encoder_out: Tensor, lens: Tensor, options: SearchConfig, resources: DecodingResources = NO_RESOURCES
) -> list[Hypothesis]:
    """Beam search of encoder_out (B, T, C), lens (B,); with nbest > 1, `alternatives` holds the n-best list.

    From frame t, a blank or a token of duration d > 0 moves to min(T, t + max(1, d)). A token of duration 0 stays on t,
    or moves to t + 1 if it is the `max_symbols`-th token of the frame. With beam = beam_durations = 1 this is greedy
    search.
    """
    frames = Frames.pack(encoder_out, lens).map(model.joiner.project_encoder)
    batch, device, dtype = len(frames.lens), frames.values.device, frames.values.dtype
    zeros = torch.zeros(batch, dtype=torch.int64, device=device)
    beam = Beam(**{f.name: zeros for f in fields(Beam)})
    beam = replace(beam, utterance=torch.arange(batch, device=device), score=zeros.double(), node=zeros - 1)
    beam = replace(beam, confidence=zeros.to(dtype))
    hotwords = scaled_hotwords(resources, options, device)
    out, state = model.predictor.step(zeros, model.predictor.initial_state(batch, device, dtype))
    predicted = model.joiner.project_predictor(out)
    durations = torch.tensor(model.durations, device=device)
    # of every emitted token: index of the one before it, token, frame, duration, probability
    trail: list[tuple[Tensor, ...]] = []
    size = 0
    while True:
        rows, others = _earliest(beam, frames)
        if not len(rows):
            return _results(beam, trail, frames.lens, options.nbest)
        successors = _extend(model, frames, beam[rows], rows, predicted[rows], durations, options, hotwords)
        waiting = replace(beam[others], source=others, token=torch.full_like(others, BLANK))
        time, beam = beam.time, _prune(Beam.join(successors, waiting), options.beam, hotwords)

        predicted, state = predicted[beam.source], tuple(s[beam.source] for s in state)
        emitted = (beam.token != BLANK).nonzero()[:, 0]
        if len(emitted):
            new = beam[emitted]
            trail.append((new.node, new.token, time[new.source], new.duration, new.confidence))
            node = torch.arange(size, size + len(emitted), device=device)
            size += len(emitted)
            out, advanced = model.predictor.step(new.token, tuple(s[emitted] for s in state))
            beam = replace(beam, node=beam.node.index_copy(0, emitted, node))
            predicted = predicted.index_copy(0, emitted, model.joiner.project_predictor(out))
            state = tuple(s.index_copy(0, emitted, a) for s, a in zip(state, advanced))


def _earliest(beam: Beam, frames: Frames) -> tuple[Tensor, Tensor]:
    """The rows of the unfinished hypotheses at the earliest frame of their utterance, and all other rows."""
    running = beam.time < frames.lens[beam.utterance]
    span = frames.longest + 1
    first = torch.arange(len(frames.lens), device=running.device) * span
    keys = (beam.utterance * span + beam.time).sort().values
    earliest = keys[torch.searchsorted(keys, first)] - first
    extend = running & (beam.time == earliest[beam.utterance])
    return extend.nonzero()[:, 0], (~extend).nonzero()[:, 0]


def _extend(
    model: Hainan,
    frames: Frames,
    beam: Beam,
    rows: Tensor,
    predicted: Tensor,
    durations: Tensor,
    options: SearchConfig,
    hotwords: HotwordGraph | None,
) -> Beam:
    """Every hypothesis of `beam` extended by blank and by its best tokens, each with the best durations.

    rows: (H,), the rows of `beam` in the whole; predicted: (H, J); durations: (D,), frames.
    """
    hidden = frames.values[frames.starts[beam.utterance] + beam.time]
    tokens, duration_log_probs = model.joiner.log_probs(hidden, predicted)
    biased, phrase = tokens, beam.phrase[:, None].expand_as(tokens)
    width = min(options.beam, tokens.shape[1] - 1)
    if hotwords is not None:
        weights, phrase = hotwords.advance_all(beam.phrase)
        biased = tokens + weights
    token = 1 + biased[:, 1:].topk(width).indices
    if hotwords is not None:  # and the best by scores without credit, each token once
        certain = (biased - hotwords.refundable(phrase)).scatter(1, token, -torch.inf)
        token = torch.cat([token, 1 + certain[:, 1:].topk(min(width, tokens.shape[1] - 1 - width)).indices], dim=1)
    token = torch.cat([torch.full_like(token[:, :1], BLANK), token], dim=1)
    token_lp, biased, phrase = (table.gather(1, token)[:, :, None] for table in (tokens, biased, phrase))
    token = token[:, :, None]  # (n, 1 + W, 1)
    duration_lp, index = duration_log_probs.topk(min(options.beam_durations, len(durations)))
    duration_lp = duration_lp[:, None]  # (n, 1, E)
    duration = durations[index][:, None]

    blank = token == BLANK
    count = beam.count[:, None, None]
    full = ~blank & (duration == 0) & (count + 1 >= options.max_symbols)
    moved = torch.where(blank | full, duration.clamp(min=1), duration)
    time = torch.minimum(beam.time[:, None, None] + moved, frames.lens[beam.utterance][:, None, None])
    prior = torch.where(blank, -options.blank_penalty, options.token_bonus).double()
    if hotwords is not None:
        ending = time == frames.lens[beam.utterance][:, None, None]
        prior = prior + torch.where(ending, hotwords.final(phrase), 0.0)
        phrase = torch.where(ending, hotwords.start, phrase)
    history = beam.history[:, None, None]
    columns = (
        beam.utterance[:, None, None],
        beam.score[:, None, None] + biased.double() + duration_lp.double() + prior,
        time,
        torch.where(moved > 0, torch.zeros_like(moved), count + 1),
        torch.where(blank, history, (history + token) * 6364136223846793005 + 1442695040888963407),
        phrase,
        beam.node[:, None, None],
        rows[:, None, None],
        token,
        duration,
        token_lp.exp(),
    )
    return Beam(*(column.expand(time.shape).flatten() for column in columns))


def _prune(pool: Beam, width: int, hotwords: HotwordGraph | None) -> Beam:
    """Merges hypotheses with the same tokens at the same frame, then keeps each utterance's best `width`, and with
    hotwords also its best `width` by scores without credit. Ordered by utterance, the best first."""
    key = (pool.history * 2862933555777941757 + pool.time) * 3202034522624059733 + pool.utterance
    order = pool.score.sort(descending=True, stable=True).indices
    order = order[key[order].sort(stable=True).indices]  # duplicates together, the most probable first
    _, group, size = torch.unique_consecutive(key[order], return_inverse=True, return_counts=True)
    merged, score = pool[order[size.cumsum(0) - size]], pool.score[order]
    share = torch.zeros_like(merged.score).index_add(0, group, (score - merged.score[group]).exp())
    merged = replace(merged, score=merged.score + share.log())

    order, rank = _rank(merged.utterance, merged.score)
    kept = rank < width
    if hotwords is not None:
        order_without_credit, rank = _rank(merged.utterance, merged.score - hotwords.refundable(merged.phrase))
        kept |= torch.zeros_like(kept).index_fill(0, order_without_credit[rank < width], True)[order]
    return merged[order[kept]]


def _rank(utterance: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
    """The rows (H,) ordered by utterance, the best first, and their ranks (H,) within the utterance, from 0."""
    order = score.sort(descending=True, stable=True).indices
    order = order[utterance[order].sort(stable=True).indices]
    owner = utterance[order]
    return order, torch.arange(len(order), device=order.device) - torch.searchsorted(owner, owner)


def _results(beam: Beam, trail: list[tuple[Tensor, ...]], lens: Tensor, nbest: int) -> list[Hypothesis]:
    """The best `nbest` hypotheses of every utterance, with their tokens read back along the trail."""
    parents, *columns = (torch.cat(c).tolist() for c in zip(*trail)) if trail else ([],)
    lists: list[list[Hypothesis]] = [[] for _ in lens]
    lengths = lens.tolist()
    for utterance, score, node in zip(beam.utterance.tolist(), beam.score.tolist(), beam.node.tolist()):
        if len(lists[utterance]) == nbest:
            continue
        nodes = []
        while node >= 0:
            nodes.append(node)
            node = parents[node]
        ids, times, durations, confidences = [[c[n] for n in reversed(nodes)] for c in columns] or [[]] * 4
        owner, num_frames = [0] * len(nodes), [lengths[utterance]]
        lists[utterance] += hypotheses_from_lists(owner, ids, times, durations, confidences, [score], num_frames)
    return [replace(best[0], alternatives=tuple(best) if nbest > 1 else ()) for best in lists]
