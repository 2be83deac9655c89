"""Hotwords in searches that choose tokens one after another, without a lattice."""

from __future__ import annotations

from dataclasses import replace

import torch

from hainan_k2.fsa.language.hotwords import HotwordGraph
from hainan_k2.search.emissions import Emissions
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import DecodingResources


def scaled_hotwords(resources: DecodingResources, options: SearchConfig, device: torch.device) -> HotwordGraph | None:
    """The hotwords of `resources` with this search's scale, None where there are none."""
    return None if resources.hotwords is None else resources.hotwords.to(device).scaled(options.hotword_scale)


def add_paid(found: Emissions, hotwords: HotwordGraph | None) -> Emissions:
    """`found` with what its hotwords are paid added to the scores."""
    return found if hotwords is None else replace(found, score=found.score + hotwords.score(found.ids()))
