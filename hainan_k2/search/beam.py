"""Autoregressive beam search for TDT, batched over utterances and hypotheses in tensor operations.

Durations make the hypotheses of an utterance stand at different frames. Two rules keep them comparable:

* Only the hypotheses at the earliest frame of their utterance are extended, so that none runs more than the
  longest duration ahead of another.
* The score of a hypothesis is the log-probability of its tokens, wherever it stands. The model is normalised
  locally - at every (frame, history) all tokens and durations sum to one - so this is the mass of everything
  that can still follow: a quantity that may be compared across frames as it is, and that dividing by frames
  or tokens would spoil.

Hypotheses of the same tokens at the same frame are one: their probabilities are added, the times of the
likelier stay. So with a wide enough beam the scores are exact log-probabilities of token sequences, summed
over all alignments.

With hotwords a score holds their credit while phrases are under way, and at the end what they are paid
(hotwords). The best by scores with credit are kept, and the best by scores without: otherwise hypotheses
with an unfinished phrase displace all others (hainan_k2.fsa.lattices.lm_search).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.fsa.language.hotwords import HotwordGraph
from hainan_k2.result import Hypothesis, hypotheses_from_lists
from hainan_k2.search.biasing import scaled_hotwords
from hainan_k2.search.emissions import Frames
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import NO_RESOURCES, DecodingResources


@dataclass(frozen=True)
class Beam:
    """H hypotheses of a whole batch; every field is (H,)."""

    utterance: Tensor
    score: Tensor  # float64
    time: Tensor  # the frame it stands at; the utterance's length when finished
    count: Tensor  # tokens on that frame
    history: Tensor  # 64-bit hash of its tokens
    phrase: Tensor  # the state of the hotwords
    node: Tensor  # its last token's place in the trail, -1 for none
    source: Tensor  # the last step: the row it came from,
    token: Tensor  # what was added (blank: nothing), with
    duration: Tensor  # this duration
    confidence: Tensor  # and this probability of the token

    def __getitem__(self, rows: Tensor) -> Beam:
        return Beam(*(getattr(self, f.name)[rows] for f in fields(self)))

    @classmethod
    def join(cls, a: Beam, b: Beam) -> Beam:
        return cls(*(torch.cat([getattr(a, f.name), getattr(b, f.name)]) for f in fields(cls)))


@torch.no_grad()
def ar_beam(
    model, encoder_out: Tensor, lens: Tensor, options: SearchConfig, resources: DecodingResources = NO_RESOURCES
) -> list[Hypothesis]:
    """Beam search of encoder_out (B, T, C), lens (B,); `alternatives` holds the n-best list where nbest > 1.

    From frame t a token of duration d > 0, or a blank, moves to min(T, t + max(1, d)); a token of duration 0
    stays, or moves to t + 1 if it is the frame's `max_symbols`-th. With beam = beam_durations = 1 this is
    greedy search.
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
    trail: list[tuple[Tensor, ...]] = []
    size = 0
    while True:
        rows, others = _earliest(beam, frames)
        if not len(rows):
            return _results(beam, trail, frames.lens, options.nbest)
        successors = _extend(model, frames, beam[rows], rows, predicted[rows], options, hotwords)
        waiting = replace(beam[others], source=others, token=torch.full_like(others, BLANK))
        time, beam = beam.time, _prune(Beam.join(successors, waiting), options.beam, hotwords)

        predicted, state = predicted[beam.source], tuple(s[beam.source] for s in state)
        spoke = (beam.token != BLANK).nonzero()[:, 0]
        if len(spoke):
            new = beam[spoke]
            trail.append((new.node, new.token, time[new.source], new.duration, new.confidence))
            node = torch.arange(size, size + len(spoke), device=device)
            size += len(spoke)
            out, advanced = model.predictor.step(new.token, tuple(s[spoke] for s in state))
            beam = replace(beam, node=beam.node.index_copy(0, spoke, node))
            predicted = predicted.index_copy(0, spoke, model.joiner.project_predictor(out))
            state = tuple(s.index_copy(0, spoke, a) for s, a in zip(state, advanced))


def _earliest(beam: Beam, frames: Frames) -> tuple[Tensor, Tensor]:
    """Rows of the unfinished hypotheses at the earliest frame of their utterance, and all other rows."""
    running = beam.time < frames.lens[beam.utterance]
    span = frames.longest + 1
    first = torch.arange(len(frames.lens), device=running.device) * span
    keys = (beam.utterance * span + beam.time).sort().values
    earliest = keys[torch.searchsorted(keys, first)] - first
    extend = running & (beam.time == earliest[beam.utterance])
    return extend.nonzero()[:, 0], (~extend).nonzero()[:, 0]


def _extend(
    model,
    frames: Frames,
    beam: Beam,
    rows: Tensor,
    predicted: Tensor,
    options: SearchConfig,
    hotwords: HotwordGraph | None,
) -> Beam:
    """Every hypothesis of `beam` by blank and its best tokens, each with the best durations."""
    hidden = frames.values[frames.starts[beam.utterance] + beam.time]
    tokens, durations = model.joiner.log_probs(hidden, predicted)
    biased, phrase = tokens, beam.phrase[:, None].expand_as(tokens)
    width = min(options.beam, tokens.shape[1] - 1)
    if hotwords is not None:
        weights, phrase = hotwords.advance_all(beam.phrase)
        biased = tokens + weights
    token = 1 + biased[:, 1:].topk(width).indices
    if hotwords is not None:  # and the best without credit, each token once
        certain = (biased - hotwords.refundable(phrase)).scatter(1, token, -torch.inf)
        token = torch.cat([token, 1 + certain[:, 1:].topk(min(width, tokens.shape[1] - 1 - width)).indices], dim=1)
    token = torch.cat([torch.full_like(token[:, :1], BLANK), token], dim=1)
    token_lp, biased, phrase = (table.gather(1, token)[:, :, None] for table in (tokens, biased, phrase))
    token = token[:, :, None]  # (n, 1 + W, 1)
    duration_lp, index = durations.topk(min(options.beam_durations, durations.shape[1]))
    duration_lp = duration_lp[:, None]  # (n, 1, E)
    duration = torch.tensor(model.durations, device=rows.device)[index][:, None]

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
    """Adds up what has the same tokens at the same frame, then keeps every utterance's best `width`, and with hotwords
    also the best `width` by scores without credit. In order of utterances, the best first."""
    key = (pool.history * 2862933555777941757 + pool.time) * 3202034522624059733 + pool.utterance
    order = pool.score.sort(descending=True, stable=True).indices
    order = order[key[order].sort(stable=True).indices]  # together what is the same, the likeliest first
    _, group, size = torch.unique_consecutive(key[order], return_inverse=True, return_counts=True)
    merged, score = pool[order[size.cumsum(0) - size]], pool.score[order]
    share = torch.zeros_like(merged.score).index_add(0, group, (score - merged.score[group]).exp())
    merged = replace(merged, score=merged.score + share.log())

    order, rank = _rank(merged.utterance, merged.score)
    kept = rank < width
    if hotwords is not None:
        certain, place = _rank(merged.utterance, merged.score - hotwords.refundable(merged.phrase))
        kept |= torch.zeros_like(kept).index_fill(0, certain[place < width], True)[order]
    return merged[order[kept]]


def _rank(utterance: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (H,) in order of utterances, the best first, and their ranks (H,) in their utterance, from 0."""
    order = score.sort(descending=True, stable=True).indices
    order = order[utterance[order].sort(stable=True).indices]
    owner = utterance[order]
    return order, torch.arange(len(order), device=order.device) - torch.searchsorted(owner, owner)


def _results(beam: Beam, trail: list[tuple[Tensor, ...]], lens: Tensor, nbest: int) -> list[Hypothesis]:
    """The best `nbest` finished hypotheses of every utterance, their tokens read back along the trail."""
    parents, *columns = (torch.cat(c).tolist() for c in zip(*trail)) if trail else ([],)
    found: list[list[Hypothesis]] = [[] for _ in lens]
    lengths = lens.tolist()
    for utterance, score, node in zip(beam.utterance.tolist(), beam.score.tolist(), beam.node.tolist()):
        if len(found[utterance]) == nbest:
            continue
        nodes = []
        while node >= 0:
            nodes.append(node)
            node = parents[node]
        tokens = [[column[n] for n in reversed(nodes)] for column in columns] or [[]] * 4
        found[utterance] += hypotheses_from_lists([0] * len(nodes), *tokens, [score], [lengths[utterance]])
    return [replace(best[0], alternatives=tuple(best) if nbest > 1 else ()) for best in found]
