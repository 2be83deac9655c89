"""ctc-greedy gives the runs of the best labels, as a loop over the frames finds them."""

import pytest
import torch
from hypothesis import given, settings

from hainan_k2 import Hainan, ModelConfig
from hainan_k2.search import METHODS, SearchConfig
from tests.oracles import search as oracle
from tests.oracles.search import batches


def ctc_greedy(model, encoded, lens):
    return METHODS["ctc-greedy"].function(model, encoded, lens, SearchConfig())


@settings(max_examples=100, deadline=None)
@given(batches())
def test_runs_of_the_best_labels(batch):
    model, encoded, lens = batch
    for hypothesis, frames, length in zip(ctc_greedy(model, encoded, lens), encoded, lens.tolist()):
        expected, score = oracle.ctc_greedy(model, frames[:length])
        assert [(t.id, t.frame, t.duration) for t in hypothesis.tokens] == [run[:3] for run in expected]
        assert [t.confidence for t in hypothesis.tokens] == pytest.approx([run[3] for run in expected])
        assert hypothesis.score == pytest.approx(score) and hypothesis.num_frames == length


def test_a_repeated_label_and_one_that_spans_two_utterances():
    model = Hainan(ModelConfig.preset("tiny", vocab_size=3, d_model=4, objective="ctc", durations=(0,))).eval()
    with torch.no_grad():
        model.ctc.weight.copy_(torch.eye(3, 4) * 9)
        model.ctc.bias.zero_()
    frames = torch.eye(3, 4)[torch.tensor([[1, 1, 0, 1, 2], [2, 2, 0, 0, 0]])]
    first, second = ctc_greedy(model, frames, torch.tensor([5, 2]))
    assert [(t.id, t.frame, t.duration) for t in first.tokens] == [(1, 0, 2), (1, 3, 1), (2, 4, 1)]
    assert [(t.id, t.frame, t.duration) for t in second.tokens] == [(2, 0, 2)]
