"""Semi-autoregressive search that can insert: the frames where the encoder-only joint is unsure are decided
again by the autoregressive joint, all of them in parallel.

SAR (see refine.py) looks only at the frames of its tokens, so it substitutes and drops but cannot add. Here
a window is every frame, spoken on or not, whose most probable token - blank included - has a probability of
at most `window_confidence` without the predictor: uncertain tokens, blanks that hide one, and frames that a
long duration has jumped over. A round

1. runs the predictor over the tokens of every utterance in one call;
2. gives every frame of a window the joint with the predictor's output after the tokens on earlier frames,
   in one call; the frames outside keep the encoder-only joint;
3. walks greedily through all frames again, so that what a window now says - other tokens, tokens more or
   fewer, other durations - is spliced into the rest.

An utterance leaves when a round leaves its tokens and their frames as they were, for then none will change
them. A round is a few calls, however many the tokens. Label-looping inside the windows would call the joint
once per label again, and step the predictor through all tokens first, for its state left of each window.

With every frame in a window this is fixed-point iteration of autoregressive greedy search with one token per
frame (`max_symbols` = 1): every round makes at least one more decision the final one, so that T rounds
find exactly its path. Without windows it is nar-greedy.

The score is the log-probability of the path - tokens, blanks and durations, each from the joint that decided
it; the confidence of a token is its probability there.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.result import Hypothesis, Round
from hainan_k2.search.emissions import Emissions, Frames
from hainan_k2.search.greedy import greedy_walk
from hainan_k2.search.options import SearchConfig


@torch.no_grad()
def sar_insert(model, encoder_out: Tensor, lens: Tensor, options: SearchConfig) -> list[Hypothesis]:
    """The greedy walk over encoder_out (B, T, C), lens (B,), refined in windows for at most `sar_rounds`.

    `rounds` of a hypothesis holds the ids of that walk and then every round's ids and changes, counted frame
    by frame, up to the round without any.
    """
    frames = Frames.pack(encoder_out, lens).map(model.joiner.project_encoder)
    owner = frames.utterance()
    logits = model.joiner.logits(frames.values, None)
    windows = find_windows(logits[:, : model.vocab_size], options.window_confidence)
    emissions = greedy_walk(model, frames, logits)
    said = _on_frames(emissions, frames)
    rounds = [[Round(ids, 0, 0, 0)] for ids in emissions.ids()]
    for _ in range(options.sar_rounds):
        if not len(windows):
            break
        logits[windows] = _joint(model, frames, owner, said, windows)
        emissions = greedy_walk(model, frames, logits)
        before, said = said, _on_frames(emissions, frames)
        changes = _changes(before, said, owner, len(lens))
        ids, counts = emissions.ids(), changes.tolist()
        for i in torch.unique_consecutive(owner[windows]).tolist():
            rounds[i].append(Round(ids[i], *counts[i]))
        windows = windows[(changes.sum(1) > 0)[owner[windows]]]
    return [replace(h, rounds=tuple(r)) for h, r in zip(emissions.hypotheses(frames.lens), rounds)]


def find_windows(token_logits: Tensor, confidence: float) -> Tensor:
    """The rows of token_logits (N, V) whose best token has a probability of at most `confidence`."""
    best_log_prob = token_logits.log_softmax(-1).amax(-1)
    return (best_log_prob.exp() <= confidence).nonzero()[:, 0]


def _on_frames(y: Emissions, frames: Frames) -> Tensor:
    """(N,): the token on every frame, blank where there is none."""
    said = torch.full((len(frames.values),), BLANK, device=frames.values.device)
    said[frames.starts[y.utterance] + y.frame] = y.token
    return said


def _joint(model, frames: Frames, owner: Tensor, said: Tensor, rows: Tensor) -> Tensor:
    """Logits (len(rows), V + D) of the frames `rows`, given the tokens that `said` (N,) has before each."""
    spoken = said != BLANK
    place = spoken.cumsum(0) - spoken.long()  # how many tokens stand before a frame, in all the batch
    place = place - place[frames.starts[owner]]  # and in its utterance
    labels = torch.zeros((len(frames.lens), int(place.max()) + 1), dtype=torch.int64, device=said.device)
    labels[owner[spoken], place[spoken]] = said[spoken]
    predicted = model.joiner.project_predictor(model.predictor(labels[:, :-1]))
    return model.joiner.logits(frames.values[rows], predicted[owner[rows], place[rows]])


def _changes(before: Tensor, after: Tensor, owner: Tensor, batch: int) -> Tensor:
    """(B, 3): how many frames of every utterance got another token, lost theirs, got one."""
    had, has = before != BLANK, after != BLANK
    kinds = torch.stack([had & has & (before != after), had & ~has, ~had & has], dim=1).long()
    return torch.zeros((batch, 3), dtype=torch.int64, device=owner.device).index_add(0, owner, kinds)
