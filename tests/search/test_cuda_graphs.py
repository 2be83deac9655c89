"""Steps as CUDA graphs: what a CPU can check of them, and on a GPU that graphs change nothing."""

import copy
import gc
import weakref

import pytest
import torch

from hainan_k2 import Hainan, ModelConfig
from hainan_k2.search import cuda_graphs
from hainan_k2.search.cuda_graphs import GraphedStep, SearchSteps, pad_rows, padded_size
from hainan_k2.search.emissions import Frames
from hainan_k2.search.greedy import ar_walk, label_looping

MODEL = ModelConfig.preset("tiny", vocab_size=20)


class EagerGraph:
    """What cuda_graphs._Graph does, without CUDA: padded inputs that stay, outputs that are overwritten."""

    captured = 0

    def __init__(self, step, inputs, size):
        self.inputs = tuple(pad_rows(x, size) for x in inputs)
        self.step = step
        type(self).captured += 1

    def run(self, inputs):
        rows = len(inputs[0])
        for own, given in zip(self.inputs, inputs):
            own[:rows].copy_(given)
        return tuple(output[:rows].clone() for output in self.step(*self.inputs))


@pytest.fixture
def graphs(monkeypatch):
    monkeypatch.setattr(cuda_graphs, "_Graph", EagerGraph)
    monkeypatch.setattr(cuda_graphs, "_can_capture", lambda inputs: True)
    monkeypatch.setattr(EagerGraph, "captured", 0)
    return EagerGraph


def test_sizes():
    assert [padded_size(rows) for rows in (1, 2, 3, 4, 5, 32, 33)] == [1, 2, 4, 4, 8, 32, 64]
    assert pad_rows(torch.tensor([[1, 2], [3, 4]]), 4).tolist() == [[1, 2], [3, 4], [1, 2], [1, 2]]


def test_a_size_is_captured_once(graphs):
    step = GraphedStep(lambda x, y: (x + y, x * y))
    for rows in (3, 4, 4, 3, 1):
        x, y = torch.randn(2, rows, 5)
        assert all(map(torch.equal, step(x, y), (x + y, x * y)))
    assert graphs.captured == 2  # of 4 rows and of 1
    assert [len(out) for out in step(torch.zeros(0, 5), torch.zeros(0, 5))] == [0, 0]


def test_more_sizes_than_are_kept_run_without(graphs, monkeypatch):
    monkeypatch.setattr(cuda_graphs, "MAX_GRAPHS", 2)
    step = GraphedStep(lambda x: (x + 1,))
    for width in range(5):
        assert torch.equal(step(torch.zeros(3, width))[0], torch.ones(3, width))
    assert graphs.captured == 2


def test_a_step_that_cannot_be_captured_runs_with_a_warning(graphs, monkeypatch, caplog):
    def fails(step, inputs, size):
        raise RuntimeError("operation not permitted when stream is capturing\nCUDA kernel errors ...")

    monkeypatch.setattr(cuda_graphs, "_Graph", fails)
    step = GraphedStep(lambda x: (x + 1,))
    assert all(torch.equal(step(torch.zeros(3))[0], torch.ones(3)) for _ in range(3))
    assert caplog.messages == [
        "a search step of 4 rows runs without a CUDA graph: operation not permitted when stream is capturing"
    ]


def searched(model, device="cpu"):
    frames = Frames.pack(torch.randn(5, 40, MODEL.d_model, device=device), torch.tensor([40, 1, 33, 0, 17]))
    frames = frames.map(model.joiner.project_encoder)
    return [label_looping(model, frames, 3), ar_walk(model, frames, 3, speculative=8)]


@torch.no_grad()
@pytest.mark.parametrize("predictor", ["lstm", "stateless"])
def test_searches_with_padded_steps_find_the_same(graphs, predictor):
    config = ModelConfig.preset("tiny", vocab_size=20, predictor=predictor)
    torch.manual_seed(4)
    model = Hainan(config).eval()
    torch.manual_seed(5)
    padded = searched(model)
    assert graphs.captured > 3
    cuda_graphs._can_capture = lambda inputs: False  # `graphs` puts it back
    torch.manual_seed(5)
    for one, other in zip(padded, searched(model)):
        for name in ("utterance", "token", "frame", "duration"):
            assert getattr(one, name).tolist() == getattr(other, name).tolist(), name
        assert torch.allclose(one.score, other.score) and torch.allclose(one.confidence, other.confidence)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@torch.no_grad()
def test_on_a_gpu_graphs_change_nothing(monkeypatch):
    model = Hainan(MODEL).eval().cuda()
    torch.manual_seed(5)
    graphed = searched(model, "cuda")
    assert SearchSteps.of(model)._decide._graphs
    monkeypatch.setattr(cuda_graphs, "_can_capture", lambda inputs: False)
    torch.manual_seed(5)
    for one, other in zip(graphed, searched(model, "cuda")):
        assert one.token.tolist() == other.token.tolist() and one.frame.tolist() == other.frame.tolist()
        assert torch.allclose(one.score, other.score, atol=1e-3)


def test_steps_live_as_long_as_their_model():
    model = Hainan(MODEL).eval()
    steps = SearchSteps.of(model)
    assert SearchSteps.of(model) is steps
    assert SearchSteps.of(copy.deepcopy(model)) is not steps
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None
