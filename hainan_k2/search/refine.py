"""Semi-autoregressive search, SAR(n) (arXiv 2410.02597, section 4): a non-autoregressive hypothesis, refined in
parallel.

The frames t_1 ... t_U and durations of the tokens do not change. A round runs the predictor over [SOS, y_1 ... y_{U-1}]
in one call, and the joint at every (t_i, predictor output i) in another. Each position takes its best token; where that
is blank, the position is dropped. An utterance is finished when a round changes nothing: no later round would.

The score is the log-probability of the tokens that the last round chose. The confidence of a token is its probability.

With hotwords, every round adds the weight of a phrase to the logit of each token that begins or continues it, as
ar_greedy does, and the score includes the weights of the complete phrases.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.fsa.language.hotwords import HotwordGraph
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis, Round
from hainan_k2.search.biasing import add_hotword_scores, scaled_hotwords
from hainan_k2.search.emissions import Emissions, Frames
from hainan_k2.search.greedy import nar_walk
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import NO_RESOURCES, DecodingResources
from hainan_k2.search.viterbi import viterbi_emissions


@torch.no_grad()
def sar(
    model: Hainan, encoder_out: Tensor, lens: Tensor, options: SearchConfig, resources: DecodingResources = NO_RESOURCES
) -> list[Hypothesis]:
    """nar_greedy of encoder_out (B, T, C), lens (B,), refined by at most options.sar_rounds rounds."""
    frames = Frames.pack(encoder_out, lens).map(model.joiner.project_encoder)
    hotwords = scaled_hotwords(resources, options, frames.values.device)
    return refine(model, frames, nar_walk(model, frames), options.sar_rounds, hotwords)


@torch.no_grad()
def sar_viterbi(
    model: Hainan, encoder_out: Tensor, lens: Tensor, options: SearchConfig, resources: DecodingResources = NO_RESOURCES
) -> list[Hypothesis]:
    """viterbi of encoder_out (B, T, C), lens (B,), refined by at most options.sar_rounds rounds."""
    projected = model.joiner.project_encoder(encoder_out)
    first = viterbi_emissions(model, projected, lens, options, resources)
    hotwords = scaled_hotwords(resources, options, projected.device)
    return refine(model, Frames.pack(projected, lens), first, options.sar_rounds, hotwords)


def refine(
    model: Hainan, frames: Frames, first: Emissions, max_rounds: int, hotwords: HotwordGraph | None = None
) -> list[Hypothesis]:
    """At most `max_rounds` rounds that start from the tokens of `first`, over projected encoder frames (N, J).

    Hypothesis.rounds holds the ids of `first`, then the ids and the number of changes of every round, up to the first
    round without changes.
    """
    batch = len(frames.lens)
    rounds = [[Round(ids, 0, 0, 0)] for ids in first.ids()]
    running, settled = replace(first, score=torch.zeros_like(first.score)), []
    for _ in range(max_rounds):
        if not len(running.token):
            break
        token, log_prob = _predict_again(model, frames, running, hotwords)
        owner = running.utterance
        zeros = torch.zeros(batch, dtype=torch.int64, device=owner.device)
        size = zeros.index_add(0, owner, torch.ones_like(owner))
        deleted = zeros.index_add(0, owner, (token == BLANK).long())
        substituted = zeros.index_add(0, owner, (token != running.token).long()) - deleted
        score = torch.zeros_like(running.score).index_add(0, owner, log_prob.double())
        score = torch.where(size > 0, score, running.score)

        running = replace(running, token=token, confidence=log_prob.exp(), score=score).select(token != BLANK)
        ids, changes = running.ids(), (substituted.tolist(), deleted.tolist())
        for i in torch.unique_consecutive(owner).tolist():
            rounds[i].append(Round(ids[i], changes[0][i], changes[1][i], 0))
        unstable = (substituted + deleted > 0)[running.utterance]
        settled.append(running.select(~unstable))
        running = running.select(unstable)
    result = add_hotword_scores(_join([*settled, running], running.score), hotwords)
    return [replace(h, rounds=tuple(r)) for h, r in zip(result.hypotheses(frames.lens), rounds)]


def _predict_again(model: Hainan, frames: Frames, y: Emissions, hotwords: HotwordGraph | None) -> tuple[Tensor, Tensor]:
    """The best token at every position of y given the tokens before it, and its log-probability, each (N,)."""
    _, row, size = torch.unique_consecutive(y.utterance, return_inverse=True, return_counts=True)
    column = torch.arange(len(row), device=row.device) - (size.cumsum(0) - size)[row]
    labels = torch.zeros((len(size), int(size.max())), dtype=torch.int64, device=row.device)
    labels[row, column] = y.token
    predicted = model.joiner.project_predictor(model.predictor(labels[:, :-1])[row, column])
    logits = model.joiner.logits(frames.values[frames.starts[y.utterance] + y.frame], predicted)
    tokens = logits[:, : model.vocab_size]
    bias = 0.0 if hotwords is None else hotwords.bias(hotwords.states(labels)[row, column])
    token = (tokens + bias).argmax(-1)
    return token, tokens.log_softmax(-1).gather(1, token[:, None])[:, 0]


def _join(parts: list[Emissions], score: Tensor) -> Emissions:
    """The emissions of disjoint sets of utterances as one, ordered by utterance."""
    order = torch.sort(torch.cat([p.utterance for p in parts]), stable=True).indices
    return Emissions(
        torch.cat([p.utterance for p in parts]),
        torch.cat([p.token for p in parts]),
        torch.cat([p.frame for p in parts]),
        torch.cat([p.duration for p in parts]),
        torch.cat([p.confidence for p in parts]),
        score,
    ).select(order)
