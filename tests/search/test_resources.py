"""Decoding resources move to a device once, and say what was given."""

import pytest
import torch

from hainan_k2.fsa.language.hotwords import HotwordGraph
from hainan_k2.search import METHODS, NO_RESOURCES, DecodingResources, SearchConfig
from tests.oracles.search import Speaker, encoder_output

CPU = torch.device("cpu")


class Counting:
    """A resource that counts how often it is moved."""

    def __init__(self, resource):
        self.resource, self.moves = resource, 0

    def to(self, device):
        self.moves += 1
        return self.resource.to(device)


def test_resources_move_to_a_device_once():
    lm, meta = Counting(torch.zeros(2)), torch.device("meta")
    resources = DecodingResources(lm=lm, pieces=["a"])
    moved = resources.to(meta)
    assert moved.lm.is_meta and moved.pieces == ["a"] and moved.hotwords is None
    assert resources.to(meta) is moved is moved.to(meta) and lm.moves == 1
    assert not resources.to(CPU).lm.is_meta and lm.moves == 2


@pytest.mark.parametrize("name", ["ar-greedy", "ar-beam", "sar", "viterbi", "nbest"])
def test_a_search_does_not_move_them_again_for_each_batch(name):
    if METHODS[name].needs_k2:
        pytest.importorskip("k2")
    model = Speaker(0)
    hotwords = Counting(HotwordGraph.build({(1, 2): 1.0}, [True] * model.vocab_size))
    resources = DecodingResources(hotwords=hotwords)
    for _ in range(3):
        METHODS[name].function(model, *encoder_output(0, [9, 4]), SearchConfig(), resources)
    assert hotwords.moves == 1


def test_what_was_given():
    assert NO_RESOURCES.given() == () == DecodingResources(pieces=["a"]).given()
    resources = DecodingResources(hotwords=object(), lodr_lm=object())
    assert resources.given() == ("lodr_lm", "hotwords") and resources.require("hotwords") is resources.hotwords
    with pytest.raises(ValueError, match="this needs --lm: DecodingResources has no lm"):
        resources.require("lm")
