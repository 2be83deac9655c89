"""Steps of a search as CUDA graphs: a step of some thirty small kernels is started by one launch.

A graph has fixed sizes and a search does not: utterances leave the batch when they end. So the inputs of a step are
padded to a power of two rows, and one graph is captured for each size that occurs. The rows of a step do not depend on
each other, so that padding, whatever it holds, changes nothing. On the CPU, and in training, steps run as they are.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import Any, Optional

import torch
from torch import Tensor

from hainan_k2.model.hainan import Hainan
from hainan_k2.search.emissions import Decision

logger = logging.getLogger(__name__)

MAX_GRAPHS = 64  # per step and model; a size beyond them runs without a graph
_WARM_UP = 3  # runs before the capture, in which cuBLAS and cuDNN choose and allocate

Step = Callable[..., tuple[Tensor, ...]]  # tensors of N rows -> tensors of N rows


class GraphedStep:
    """A step that is captured as a CUDA graph for each size, where CUDA is used.

    >>> double = GraphedStep(lambda x: (2 * x,))
    >>> double(torch.ones(3))[0]
    tensor([2., 2., 2.])
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        self._graphs: dict[tuple[Any, ...], Optional[_Graph]] = {}

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The step of inputs whose dimension 0 has N rows; its results have N rows as well."""
        rows = len(inputs[0])
        if not rows or not _can_capture(inputs):
            return self._step(*inputs)
        size = padded_size(rows)
        key = (size, *((x.shape[1:], x.dtype, x.device) for x in inputs))
        if key not in self._graphs:
            self._graphs[key] = self._captured(inputs, size) if len(self._graphs) < MAX_GRAPHS else None
        graph = self._graphs[key]
        return self._step(*inputs) if graph is None else graph.run(inputs)

    def _captured(self, inputs: tuple[Tensor, ...], size: int) -> Optional[_Graph]:
        """The graph of this size; None, after a warning, where CUDA cannot capture the step."""
        try:
            return _Graph(self._step, inputs, size)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            logger.warning("a search step of %d rows runs without a CUDA graph: %s", size, reason)
            return None


def padded_size(rows: int) -> int:
    """The next power of two."""
    return 1 << (rows - 1).bit_length()


def pad_rows(values: Tensor, size: int) -> Tensor:
    """A copy of (N, ...) with `size` rows; those behind N repeat row 0, so that they hold valid labels."""
    return torch.cat([values, values[:1].expand(size - len(values), *values.shape[1:])])


class _Graph:
    """A captured step: its graph, the tensors that it reads, and those that it writes."""

    def __init__(self, step: Step, inputs: tuple[Tensor, ...], size: int) -> None:
        self.inputs = tuple(pad_rows(x, size) for x in inputs)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                step(*self.inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.outputs = step(*self.inputs)

    def run(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Outputs of N rows, copied: the next run overwrites the graph's own."""
        rows = len(inputs[0])
        for own, given in zip(self.inputs, inputs):
            own[:rows].copy_(given)
        self.graph.replay()
        return tuple(output[:rows].clone() for output in self.outputs)


def _can_capture(inputs: tuple[Tensor, ...]) -> bool:
    """Whether all is on one CUDA device, without gradients, and nothing else is being captured."""
    if not inputs[0].is_cuda or torch.is_grad_enabled() or not hasattr(torch.cuda, "CUDAGraph"):
        return False
    return len({x.device for x in inputs}) == 1 and not torch.cuda.is_current_stream_capturing()


class SearchSteps:
    """The steps of autoregressive greedy search with one model."""

    def __init__(self, model: Hainan) -> None:
        reference = weakref.ref(model)  # `of` keeps the steps as long as the model lives
        durations: dict[torch.device, Tensor] = {}

        def alive() -> Hainan:
            model = reference()
            assert model is not None
            return model

        def predict(label: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
            out, after = alive().predictor.step(label, state)
            return alive().joiner.project_predictor(out), *after

        def unroll(labels: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
            out, after = alive().predictor.unroll(labels, state)
            return alive().joiner.project_predictor(out), *after

        def decide(hidden: Tensor, predicted: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
            model = alive()
            if hidden.device not in durations:  # in the warm-up: a graph cannot copy from the host
                durations[hidden.device] = torch.tensor(model.durations, device=hidden.device)
            logits = model.joiner.logits(hidden, predicted)
            return tuple(vars(Decision(logits, model.vocab_size, durations[hidden.device], bias)).values())

        self._predict, self._unroll, self._decide = GraphedStep(predict), GraphedStep(unroll), GraphedStep(decide)

    @classmethod
    def of(cls, model: Hainan) -> SearchSteps:
        """The steps of this model, made once, so that its graphs are captured once."""
        if model not in _STEPS:
            _STEPS[model] = cls(model)
        return _STEPS[model]

    def predict(self, label: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Last labels (N,), states -> projected predictor output (N, J), next states."""
        predicted, *after = self._predict(label, *state)
        return predicted, tuple(after)

    def unroll(self, labels: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Labels (N, L), states -> projected predictor outputs (N, L, J), the states after each label (N, L, ...)."""
        predicted, *after = self._unroll(labels, *state)
        return predicted, tuple(after)

    def decide(self, hidden: Tensor, predicted: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Projected frames (N, J), projected predictor outputs (N, J), bias (N, V) or (N, 1) -> Decision's attributes:
        token, duration, token_log_prob, duration_log_prob, (N,) each."""
        token, duration, token_log_prob, duration_log_prob = self._decide(hidden, predicted, bias)
        return token, duration, token_log_prob, duration_log_prob


_STEPS: weakref.WeakKeyDictionary[Hainan, SearchSteps] = weakref.WeakKeyDictionary()
