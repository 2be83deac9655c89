"""Greedy search: autoregressive by label-looping (arXiv 2406.06220), non-autoregressive as in arXiv 2410.02597.

Both take the most probable token and, independently, the most probable duration. A duration class is an index into
`model.durations`. The score of a hypothesis is the log-probability of its path: tokens, blanks and durations. The
confidence of a token is its probability.

With hotwords, ar_greedy adds the weight of a phrase to the logit of each token that begins or continues it, and the
weights of the complete phrases to the score. nar_greedy predicts each token without those before it, so that it cannot
use hotwords.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from hainan_k2.config import BLANK, ModelConfig
from hainan_k2.fsa.language.hotwords import HotwordGraph
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis
from hainan_k2.search.biasing import add_hotword_scores, scaled_hotwords
from hainan_k2.search.cuda_graphs import SearchSteps
from hainan_k2.search.emissions import Decision, Emissions, Frames
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import NO_RESOURCES, DecodingResources
from hainan_k2.search.speculative import Standing, speculate

logger = logging.getLogger(__name__)

# Largest batch that is searched by speculative decoding. Its CPU time over that of label-looping, by batch size, as
# `bench.py speculative` prints it (released model, 401 lines of acted dialogue, one thread of a busy AMD EPYC):
#   1: 0.49    4: 0.63    8: 0.80    16: 1.03    32: 1.35
SPECULATIVE = 8


@torch.no_grad()
def ar_greedy(
    model: Hainan, encoder_out: Tensor, lens: Tensor, options: SearchConfig, resources: DecodingResources = NO_RESOURCES
) -> list[Hypothesis]:
    """TDT greedy search with the predictor: one Hypothesis for each utterance of encoder_out (B, T, C), lens (B,).

    >>> from hainan_k2 import Hainan, ModelConfig, SearchConfig
    >>> model = Hainan(ModelConfig.preset("tiny", vocab_size=20)).eval()
    >>> encoder_out, lens = model.encoder(torch.randn(2, 160, 80), torch.tensor([160, 120]))
    >>> len(ar_greedy(model, encoder_out, lens, SearchConfig()))
    2
    """
    frames = Frames.pack(encoder_out, lens).map(model.joiner.project_encoder)
    hotwords = scaled_hotwords(resources, options, frames.values.device)
    emissions = ar_walk(model, frames, options.max_symbols, hotwords)
    return add_hotword_scores(emissions, hotwords).hypotheses(frames.lens)


def ar_walk(
    model: Hainan,
    frames: Frames,
    max_symbols: int,
    hotwords: HotwordGraph | None = None,
    speculative: int = SPECULATIVE,
) -> Emissions:
    """AR greedy search of projected encoder frames (N, J): speculative decoding in batches of up to `speculative`
    utterances while the drafts are good, label-looping otherwise, and where the joint that drafts was not trained. Both
    make the same decisions."""
    if len(frames.lens) > speculative or not drafts(model.config):
        return label_looping(model, frames, max_symbols, hotwords)
    records, rest = speculate(model, frames, max_symbols, hotwords)
    if rest is None:
        return _collect(records, frames, max_symbols)
    return label_looping(model, frames, max_symbols, hotwords, rest, records)


def drafts(config: ModelConfig) -> bool:
    """Whether the encoder-only joint of such a model is trained, so that its drafts are good."""
    return config.objective == "tdt" and config.predictor_masking


def label_looping(
    model: Hainan,
    frames: Frames,
    max_symbols: int,
    hotwords: HotwordGraph | None = None,
    begin: Standing | None = None,
    records: Sequence[tuple] = (),
) -> Emissions:
    """Label-looping (arXiv 2406.06220) over projected encoder frames (N, J).

    The outer loop runs over labels, the inner one over blanks, until every utterance has its next label. From frame t,
    a blank or a token of duration d > 0 moves to t + max(1, d). A token of duration 0 stays on t; after `max_symbols`
    tokens on a frame, time moves to t + 1. The predictor advances on tokens only. An utterance leaves the inner loop
    when it has its label, and the batch when it ends, so that it does not depend on the others.

    Args:
      begin: where another search stopped; None begins at the first frames.
      records: the decisions of that search.
    """
    device, dtype = frames.values.device, frames.values.dtype
    steps = SearchSteps.of(model)
    utterance = frames.lens.nonzero()[:, 0]  # still running; every tensor below is parallel to it
    time = torch.zeros_like(utterance)
    count = torch.zeros_like(utterance)  # tokens emitted on this frame
    label = torch.full_like(utterance, BLANK)  # SOS
    phrase = torch.zeros_like(utterance)  # state of the hotword automaton
    state = model.predictor.initial_state(len(utterance), device, dtype)
    if begin is not None:
        utterance, row, count, label = torch.tensor(
            [begin.utterance, begin.row, begin.count, begin.label], device=device
        )
        time, phrase, state = row - frames.starts[utterance], begin.phrase, begin.state
    # of every joint evaluation: utterance, token, frame, duration, both log-probs, whether max_symbols is reached
    records = [*records]
    while len(utterance):
        predicted, state = steps.predict(label, state)
        starts, ends = frames.starts[utterance], frames.lens[utterance]
        bias = predicted.new_zeros((len(utterance), 1)) if hotwords is None else hotwords.bias(phrase)
        seeking = torch.arange(len(utterance), device=device)
        while len(seeking):
            now = time[seeking]
            hidden = frames.values[starts[seeking] + now]
            token, duration, *log_probs = steps.decide(hidden, predicted[seeking], bias[seeking])
            blank = token == BLANK
            full = ~blank & (duration == 0) & (count[seeking] + 1 >= max_symbols)
            moved = torch.where(blank | full, duration.clamp(min=1), duration)
            records.append((utterance[seeking], token, now, duration, *log_probs, full))
            time[seeking] = now + moved
            count[seeking] = torch.where(moved > 0, torch.zeros_like(moved), count[seeking] + 1)
            label[seeking] = token
            seeking = seeking[blank & (now + moved < ends[seeking])]
        running = (time < ends).nonzero()[:, 0]
        utterance, time, count, label = utterance[running], time[running], count[running], label[running]
        state = tuple(s[running] for s in state)
        phrase = phrase[running] if hotwords is None else hotwords.advance(phrase[running], label)[1]
    return _collect(records, frames, max_symbols)


def _collect(records: list[tuple[Tensor, ...]], frames: Frames, max_symbols: int) -> Emissions:
    """The tokens among the records of joint evaluations, ordered by utterance and time."""
    score = torch.zeros(len(frames.lens), dtype=torch.float64, device=frames.values.device)
    if not records:
        none = torch.zeros(0, dtype=torch.int64, device=score.device)
        return Emissions(none, none, none, none, none, score)
    columns = [torch.cat(column) for column in zip(*records)]
    utterance, token, time, duration, token_lp, duration_lp, full = columns
    score.index_add_(0, utterance, token_lp.double() + duration_lp.double())
    num_full = int(full.sum())
    if num_full:
        logger.warning("%d times a frame had max_symbols=%d tokens, and time moved on", num_full, max_symbols)
    order = torch.sort(utterance, stable=True).indices
    order = order[token[order] != BLANK]
    confidence = token_lp[order].exp()
    return Emissions(utterance[order], token[order], time[order], duration[order], confidence, score)


@torch.no_grad()
def nar_greedy(
    model: Hainan, encoder_out: Tensor, lens: Tensor, options: SearchConfig, resources: DecodingResources = NO_RESOURCES
) -> list[Hypothesis]:
    """Non-autoregressive greedy search of encoder_out (B, T, C), lens (B,), with the joint's encoder input alone."""
    frames = Frames.pack(encoder_out, lens).map(model.joiner.project_encoder)
    return nar_walk(model, frames).hypotheses(frames.lens)


def nar_walk(model: Hainan, frames: Frames) -> Emissions:
    """One joint call for all projected frames (N, J), then the walk t -> t + max(1, d), which emits each frame's best
    token unless it is blank."""
    durations = torch.tensor(model.durations, device=frames.values.device)
    logits = model.joiner.logits(frames.values, None)
    step = durations[logits[:, model.vocab_size :].argmax(-1)].clamp(min=1)
    rows = walk(step, frames).nonzero()[:, 0]
    best = Decision(logits[rows], model.vocab_size, durations)
    utterance = frames.utterance()[rows]
    score = torch.zeros(len(frames.lens), dtype=torch.float64, device=rows.device)
    score.index_add_(0, utterance, best.token_log_prob.double() + best.duration_log_prob.double())
    time = rows - frames.starts[utterance]
    visited = Emissions(utterance, best.token, time, best.duration, best.token_log_prob.exp(), score)
    return visited.select(best.token != BLANK)


def walk(step: Tensor, frames: Frames) -> Tensor:
    """The frames that a walk from every utterance's first frame visits, when row n leads to row n + step[n].

    By pointer jumping: if `jump` leads 2^k steps ahead and the first 2^k visited rows are known, these rows and their
    jumps are the first 2^(k+1). So log2(longest) rounds suffice for the batch, without a copy to the host.

    Args:
      step: (N,) int64, at least 1.
    Returns:
      (N,) bool.
    """
    rows = torch.arange(len(step), device=step.device)
    ends = (frames.starts + frames.lens)[frames.utterance()]
    outside = len(step)
    jump = torch.where(rows + step < ends, rows + step, torch.full_like(rows, outside))
    jump = torch.cat([jump, jump.new_tensor([outside])])
    visited = torch.zeros(len(jump), dtype=torch.bool, device=step.device)
    visited[torch.where(frames.lens > 0, frames.starts, torch.full_like(frames.starts, outside))] = True
    for _ in range(max(0, frames.longest - 1).bit_length()):
        reached = torch.zeros_like(visited)
        reached[torch.where(visited, jump, torch.full_like(jump, outside))] = True
        visited = visited | reached
        jump = jump[jump]
    return visited[:outside]
