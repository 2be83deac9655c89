"""Hotwords in searches without a lattice, which choose one token after another."""

from __future__ import annotations

from dataclasses import replace

import torch

from hainan_k2.fsa.language.hotwords import HotwordGraph
from hainan_k2.search.emissions import Emissions
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import DecodingResources


def scaled_hotwords(resources: DecodingResources, options: SearchConfig, device: torch.device) -> HotwordGraph | None:
    """The hotwords of `resources` on `device`, weights times options.hotword_scale; None where there are none."""
    hotwords = resources.to(device).hotwords
    return None if hotwords is None else hotwords.scaled(options.hotword_scale)


def add_hotword_scores(emissions: Emissions, hotwords: HotwordGraph | None) -> Emissions:
    """`emissions` with the weights of the hotwords in them added to their scores (B,)."""
    if hotwords is None:
        return emissions
    return replace(emissions, score=emissions.score + hotwords.score(emissions.ids()))
