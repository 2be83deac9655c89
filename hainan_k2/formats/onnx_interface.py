"""The graphs of a model as files: their modules, and names and shapes of what goes in and comes out.

sherpa-onnx takes inputs and outputs in this order, onnx-asr by these names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Union

import torch
from torch import Tensor, nn

from hainan_k2.formats.onnx_graphs import DecoderJointGraph, EncoderGraph, JoinerGraph, NarGraph, decoder_graph
from hainan_k2.model.hainan import Hainan
from hainan_k2.search.greedy import drafts

Shape = tuple[Union[str, int], ...]  # an axis of any size has a name

# Sizes of the axes in the inputs that a graph is traced with: utterances, feature frames, encoder frames, labels.
TRACED = {"B": 2, "T": 100, "S": 13, "U": 2}
INTEGERS = {"length": torch.int64, "targets": torch.int32, "target_length": torch.int32}  # the others are float32


@dataclass(frozen=True)
class Graph:
    """A module, and the shapes of its inputs and outputs by name, in order."""

    module: nn.Module
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]

    def examples(self) -> tuple[Tensor, ...]:
        """Inputs to trace the module with."""
        return tuple(example(name, shape) for name, shape in self.inputs.items())

    def varying_axes(self) -> dict[str, dict[int, str]]:
        """The axes of any size, by input or output, as torch.onnx.export takes them."""
        every = {**self.inputs, **self.outputs}
        return {
            name: {i: axis for i, axis in enumerate(shape) if isinstance(axis, str)} for name, shape in every.items()
        }


def example(name: str, shape: Shape) -> Tensor:
    """An input of zeros; a length is that of the axis."""
    longest = {"length": TRACED["T"], "target_length": TRACED["U"]}.get(name, 0)
    sizes = [TRACED[axis] if isinstance(axis, str) else axis for axis in shape]
    return torch.full(sizes, longest, dtype=INTEGERS.get(name, torch.float32))


def graphs(model: Hainan, durations: Sequence[int]) -> dict[str, Graph]:
    """The graphs of a model with these duration classes, by the names of their files.

    There is no `nar` where the predictor was not masked in training, since the joint without it is then untrained.
    """
    decoder, joiner = decoder_graph(model), JoinerGraph(model, durations)
    channels, tokens, classes = model.config.joiner_dim, model.vocab_size, len(durations)
    layers, width = decoder.state_shape
    state: Shape = (layers, "B", width)
    signal: dict[str, Shape] = {"audio_signal": ("B", model.config.num_mel_bins, "T"), "length": ("B",)}
    lens: dict[str, Shape] = {"encoded_lengths": ("B",)}
    frames: dict[str, Shape] = {"encoder_outputs": ("B", channels, "S")}
    targets: dict[str, Shape] = {"targets": ("B", "U"), "target_length": ("B",)}
    states: dict[str, Shape] = {"prednet_lengths": ("B",), "output_states_1": state, "output_states_2": state}
    logits: dict[str, Shape] = {"outputs": ("B", "S", "U", tokens + classes)}
    every = {
        "encoder": Graph(EncoderGraph(model), signal, {"outputs": ("B", channels, "S"), **lens}),
        "decoder": Graph(
            decoder,
            {**targets, "states_1": state, "states_2": state},
            {"outputs": ("B", channels, "U"), **states},
        ),
        "joiner": Graph(joiner, {**frames, "decoder_outputs": ("B", channels, "U")}, logits),
        "decoder_joint-model": Graph(
            DecoderJointGraph(decoder, joiner),
            {**frames, **targets, "input_states_1": state, "input_states_2": state},
            {**logits, **states},
        ),
    }
    if drafts(model.config):
        scores: dict[str, Shape] = {
            "token_log_probs": ("B", "S", tokens),
            "duration_log_probs": ("B", "S", classes),
        }
        every["nar"] = Graph(NarGraph(model, durations), signal, {**scores, **lens})
    return every
