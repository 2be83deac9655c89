"""Greedy searches: autoregressive by label-looping (arXiv 2406.06220), and non-autoregressive (arXiv
2410.02597).

Both take the most probable token and, separately, the most probable duration - looked up in the model's
table, for the duration class is an index and [1..8] or [0,1,2,4,8] are not indices. The score of a hypothesis
is the log-probability of its path: tokens, blanks and durations; the confidence of a token is its
probability.

With hotwords, ar_greedy adds to a token that begins or continues a phrase the phrase's weight before it takes the
best (HotwordGraph.encourage), and to the score what the phrases found are paid. nar_greedy chooses all tokens at
once, none knows those before it: it cannot use hotwords.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.fsa.language.hotwords import HotwordGraph
from hainan_k2.result import Hypothesis
from hainan_k2.search.biasing import add_paid, scaled_hotwords
from hainan_k2.search.emissions import Decision, Emissions, Frames
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import NOTHING, Knowledge
from hainan_k2.search.speculative import Standing, speculate

# Utterances in a batch, at most, that are searched by speculation. Its CPU time over that of label-looping, by the size
# of the batch (released model, 2 to 8 s of speech each, one thread of an AMD EPYC, medians of 9 interleaved runs):
#   1: 0.49    4: 0.59    8: 0.66    16: 0.83    32: 1.00
SPECULATIVE = 16


@torch.no_grad()
def ar_greedy(
    model, encoder_out: Tensor, lens: Tensor, options: SearchConfig, knowledge: Knowledge = NOTHING
) -> list[Hypothesis]:
    """TDT greedy search of encoder_out (B, T, C), lens (B,), with the predictor."""
    frames = Frames.pack(encoder_out, lens).map(model.joiner.project_encoder)
    hotwords = scaled_hotwords(knowledge, options, frames.values.device)
    found = ar_walk(model, frames, options.max_symbols, hotwords)
    return add_paid(found, hotwords).hypotheses(frames.lens)


def ar_walk(model, frames: Frames, max_symbols: int, hotwords: HotwordGraph | None = None) -> Emissions:
    """The tokens of AR greedy search, speculative for up to SPECULATIVE utterances while the drafts are good, else by
    label-looping: the result is the same.

    frames: projected encoder frames (N, J).
    """
    if len(frames.lens) > SPECULATIVE:
        return label_looping(model, frames, max_symbols, hotwords)
    records, rest = speculate(model, frames, max_symbols, hotwords)
    if rest is None:
        return _collect(records, frames, max_symbols)
    return label_looping(model, frames, max_symbols, hotwords, rest, records)


def label_looping(
    model,
    frames: Frames,
    max_symbols: int,
    hotwords: HotwordGraph | None = None,
    begin: Standing | None = None,
    records: Sequence[tuple] = (),
) -> Emissions:
    """The outer loop runs over labels, the inner one over blanks, until every utterance has its next label.

    From frame t: a token of duration d > 0, or a blank, moves to t + max(1, d); a token of duration 0 stays
    on t, where at most `max_symbols` tokens are emitted before time moves to t + 1. The predictor advances on
    tokens only. Utterances leave the batch when they end, and the inner loop when they have their label:
    nobody waits for, or sees, another. It goes on from where another search stands: `begin`, with its `records`.
    """
    device, dtype = frames.values.device, frames.values.dtype
    durations = torch.tensor(model.durations, device=device)
    utterance = frames.lens.nonzero()[:, 0]  # still running; every tensor below is parallel to it
    time = torch.zeros_like(utterance)
    count = torch.zeros_like(utterance)  # tokens emitted on this frame
    label = torch.full_like(utterance, BLANK)  # SOS
    phrase = torch.zeros_like(utterance)  # the state of the hotwords
    state = model.predictor.initial_state(len(utterance), device, dtype)
    if begin is not None:
        utterance, row, count, label = torch.tensor(
            [begin.utterance, begin.row, begin.count, begin.label], device=device
        )
        time, phrase, state = row - frames.starts[utterance], begin.phrase, begin.state
    records = [*records]  # of every joint evaluation: utterance, token, frame, duration, both log-probs, budget spent
    while len(utterance):
        out, state = model.predictor.step(label, state)
        predicted = model.joiner.project_predictor(out)
        starts, ends = frames.starts[utterance], frames.lens[utterance]
        bias = predicted.new_zeros((len(utterance), 1)) if hotwords is None else hotwords.encourage(phrase)
        seeking = torch.arange(len(utterance), device=device)
        while len(seeking):
            now = time[seeking]
            hidden = frames.values[starts[seeking] + now]
            logits = model.joiner.logits(hidden, predicted[seeking])
            best = Decision(logits, model.vocab_size, durations, bias[seeking])
            blank = best.token == BLANK
            full = ~blank & (best.duration == 0) & (count[seeking] + 1 >= max_symbols)
            moved = torch.where(blank | full, best.duration.clamp(min=1), best.duration)
            records.append(
                (utterance[seeking], best.token, now, best.duration, best.token_log_prob, best.duration_log_prob, full)
            )
            time[seeking] = now + moved
            count[seeking] = torch.where(moved > 0, torch.zeros_like(moved), count[seeking] + 1)
            label[seeking] = best.token
            seeking = seeking[blank & (now + moved < ends[seeking])]
        running = (time < ends).nonzero()[:, 0]
        utterance, time, count, label = utterance[running], time[running], count[running], label[running]
        state = tuple(s[running] for s in state)
        phrase = phrase[running] if hotwords is None else hotwords.advance(phrase[running], label)[1]
    return _collect(records, frames, max_symbols)


def _collect(records: list, frames: Frames, max_symbols: int) -> Emissions:
    """Emissions from what label-looping saw, sorted by utterance; evaluations keep their order in time."""
    score = torch.zeros(len(frames.lens), dtype=torch.float64, device=frames.values.device)
    if not records:
        none = torch.zeros(0, dtype=torch.int64, device=score.device)
        return Emissions(none, none, none, none, none, score)
    columns = [torch.cat(column) for column in zip(*records)]
    utterance, token, time, duration, token_lp, duration_lp, full = columns
    score.index_add_(0, utterance, token_lp.double() + duration_lp.double())
    spent = int(full.sum())
    if spent:
        logging.warning("%d times a frame had max_symbols=%d tokens and was left", spent, max_symbols)
    order = torch.sort(utterance, stable=True).indices
    order = order[token[order] != BLANK]
    confidence = token_lp[order].exp()
    return Emissions(utterance[order], token[order], time[order], duration[order], confidence, score)


@torch.no_grad()
def nar_greedy(
    model, encoder_out: Tensor, lens: Tensor, options: SearchConfig, knowledge: Knowledge = NOTHING
) -> list[Hypothesis]:
    """Greedy walk over the encoder-only joint of encoder_out (B, T, C), lens (B,)."""
    frames = Frames.pack(encoder_out, lens).map(model.joiner.project_encoder)
    return nar_walk(model, frames).hypotheses(frames.lens)


def nar_walk(model, frames: Frames) -> Emissions:
    """All frames in one joint call, then the walk t -> t + max(1, d), emitting what is not blank."""
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
    """Which frames a walk from every utterance's first frame visits, when row n of all frames leads to n +
    step[n].

    By pointer jumping: when 2^k steps from every row are known as one jump, the visited rows and their jumps
    are the first 2^(k+1) visited ones. So log2(longest) rounds do for the whole batch, without asking the
    device anything.

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
        landed = torch.zeros_like(visited)
        landed[torch.where(visited, jump, torch.full_like(jump, outside))] = True
        visited = visited | landed
        jump = jump[jump]
    return visited[:outside]
