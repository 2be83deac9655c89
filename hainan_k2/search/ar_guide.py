"""What the encoder alone expects of the frames to come: the guide of an autoregressive search."""

from __future__ import annotations

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.model.hainan import Hainan
from hainan_k2.search.emissions import Frames
from hainan_k2.search.options import SearchConfig


def best_ahead(model: Hainan, frames: Frames, options: SearchConfig) -> Tensor:
    """(T + 1, B) float64: h(t), the score of the best path of the NAR lattice from frame t to the end, natural log.

    frames: projected, (N, J). The lattice is that of nar_lattice, with all tokens and durations:

        h(t) = max over v, d of  log P_T(v | t) + w log P_D(d | t) + h(min(T, t + max(1, d))),    h(T) = 0

    Hypotheses at different frames compare by their score plus h. Frames beyond the end of an utterance have h = 0.
    Raises ValueError for a model whose encoder-only joint was never trained.
    """
    if isinstance(model, Hainan) and not model.config.predictor_masking:
        raise ValueError("guide nar needs an encoder-only joint, and this model was trained without masking: take none")
    tokens, durations = model.joiner.log_probs(frames.values, None)
    best = tokens[:, BLANK + 1 :].amax(1) + options.token_bonus
    best = torch.maximum(best, tokens[:, BLANK] - options.blank_penalty).double()
    step = best[:, None] + options.duration_scale * durations.double()
    batch, longest = len(frames.lens), frames.longest
    reach = step.new_zeros(longest, len(model.durations), batch)
    utterance = frames.utterance()
    time = torch.arange(len(utterance), device=utterance.device) - frames.starts[utterance]
    reach[time, :, utterance] = step
    ahead = step.new_zeros(longest + max(model.durations), batch)
    offsets = torch.tensor([max(1, d) for d in model.durations], device=step.device)
    for t in range(longest - 1, -1, -1):
        ahead[t] = (reach[t] + ahead.index_select(0, t + offsets)).amax(0)
    return ahead[: longest + 1]
