"""Greedy search with a CTC head: the best label of every frame; repeats are one token, blanks none.

    frame    0   1   2   3   4   5   6   7
    label    -   a   a   -   a   b   b   -
    tokens       a@1 +2      a@4 b@5
                             +1  +2

A token begins with its first frame and lasts as long as its label. Its confidence is the mean probability of the
label on these frames. The score is the log-probability of the path: the best labels of all frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis
from hainan_k2.search.emissions import Emissions, Frames
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import NO_RESOURCES, DecodingResources


@torch.no_grad()
def ctc_greedy(
    model: Hainan, encoder_out: Tensor, lens: Tensor, options: SearchConfig, resources: DecodingResources = NO_RESOURCES
) -> list[Hypothesis]:
    """CTC greedy search of encoder_out (B, T, C), lens (B,): one Hypothesis for each utterance.

    Raises ValueError for a model without a CTC head.
    """
    frames = Frames.pack(encoder_out, lens)
    log_prob, label = model.ctc_log_probs(frames.values).max(-1)
    utterance = frames.utterance()
    begins = torch.ones_like(label, dtype=torch.bool)  # whether a frame has another label than the one before it
    begins[1:] = (label[1:] != label[:-1]) | (utterance[1:] != utterance[:-1])
    run = begins.cumsum(0) - 1
    first = begins.nonzero()[:, 0]
    duration = torch.bincount(run)
    confidence = torch.zeros_like(log_prob[first]).index_add(0, run, log_prob.exp()) / duration
    score = torch.zeros(len(frames.lens), dtype=torch.float64, device=label.device)
    score.index_add_(0, utterance, log_prob.double())
    time = first - frames.starts[utterance[first]]
    runs = Emissions(utterance[first], label[first], time, duration, confidence, score)
    return runs.select(runs.token != BLANK).hypotheses(frames.lens)
