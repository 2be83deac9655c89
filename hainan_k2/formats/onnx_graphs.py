"""The parts of a HAINAN model as modules to write as ONNX graphs, in NeMo's layout of inputs, outputs and token ids.

The blank is the last token, and our token i is token i - 1. The projections of the joint network belong to the encoder
and to the decoder, so that each frame and each label is projected once, and the joiner only adds, activates and maps to
logits. Therefore the joiner with zeros for the decoder's output is exactly the non-autoregressive joint.

encoder   audio_signal (B, F, T), length (B,) -> outputs (B, J, T'), encoded_lengths (B,)
decoder   targets (B, U) int32, target_length (B,) int32, states (L, B, H) twice
          -> outputs (B, J, U), prednet_lengths (B,), output states
joiner    encoder_outputs (B, J, T'), decoder_outputs (B, J, U) -> outputs (B, T', U, V + D), raw; D is 0 for an RNN-T
nar       audio_signal, length -> token_log_probs (B, T', V), duration_log_probs (B, T', D), encoded_lengths
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Union

import torch
from torch import Tensor, nn

from hainan_k2.config import BLANK
from hainan_k2.model.hainan import Encoder, Hainan
from hainan_k2.model.predictor import ConcatPredictor, LstmPredictor, StatelessPredictor

NEVER = -1e9  # bias of a duration that the model does not have: its probability is 0 in float32


class EncoderGraph(nn.Module):
    """Encoder and its projection into the joint."""

    def __init__(self, model: Hainan) -> None:
        super().__init__()
        self.encoder, self.project = with_linear_pointwise(model.encoder), model.joiner.enc

    def forward(self, audio_signal: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        out, lens = self.encoder(audio_signal.transpose(1, 2), length)
        return self.project(out).transpose(1, 2), lens


class LstmDecoderGraph(nn.Module):
    """LSTM predictor and its projection into the joint; the states are those of the LSTM."""

    def __init__(self, model: Hainan, predictor: LstmPredictor) -> None:
        super().__init__()
        self.vocab_size, self.embed, self.lstm = model.vocab_size, predictor.embed, predictor.lstm
        self.project = model.joiner.pred
        self.state_shape = (predictor.lstm.num_layers, predictor.dim)

    def forward(self, targets: Tensor, target_length: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, ...]:
        labels = (targets.long() + 1) % self.vocab_size
        out, (hidden, cell) = self.lstm(self.embed(labels), (hidden, cell))
        return self.project(out).transpose(1, 2), target_length, hidden, cell


class LabelDecoderGraph(nn.Module):
    """A predictor that takes the last `context` labels, and its projection into the joint.

    The first state holds the context - 1 labels before `targets` by our ids, oldest first: blanks at the start. The
    second state is not used, and no state is if the context is one label. States are (L, B, 1), float32.
    """

    def __init__(self, model: Hainan, predictor: Union[StatelessPredictor, ConcatPredictor]) -> None:
        super().__init__()
        self.vocab_size, self.predictor, self.project = model.vocab_size, predictor, model.joiner.pred
        self.before = predictor.context - 1
        self.state_shape = (max(1, self.before), 1)

    def forward(self, targets: Tensor, target_length: Tensor, before: Tensor, unused: Tensor) -> tuple[Tensor, ...]:
        labels = (targets.long() + 1) % self.vocab_size
        if self.before:
            labels = torch.cat([before[:, :, 0].T.long(), labels], dim=1)
            before = labels[:, -self.before :].T[:, :, None].to(before.dtype)
        out = self.predictor.outputs(labels)
        return self.project(out).transpose(1, 2), target_length, before + 0, unused + 0


class JoinerGraph(nn.Module):
    """The joint network after its projections, with the duration classes `durations`."""

    def __init__(self, model: Hainan, durations: Sequence[int]) -> None:
        super().__init__()
        self.activation, self.out = model.joiner.activation, joint_outputs(model, durations)

    def forward(self, encoder_outputs: Tensor, decoder_outputs: Tensor) -> Tensor:
        frames, labels = encoder_outputs.transpose(1, 2), decoder_outputs.transpose(1, 2)
        logits: Tensor = self.out(self.activation(frames[:, :, None] + labels[:, None]))
        return logits


class DecoderJointGraph(nn.Module):
    """Decoder and joiner in one graph."""

    def __init__(self, decoder: DecoderGraph, joiner: JoinerGraph) -> None:
        super().__init__()
        self.decoder, self.joiner = decoder, joiner

    def forward(
        self, encoder_outputs: Tensor, targets: Tensor, target_length: Tensor, state_1: Tensor, state_2: Tensor
    ) -> tuple[Tensor, ...]:
        out, lens, state_1, state_2 = self.decoder(targets, target_length, state_1, state_2)
        return self.joiner(encoder_outputs, out), lens, state_1, state_2


class NarGraph(nn.Module):
    """Encoder and joint without predictor: log-probabilities of all frames at once, natural log."""

    def __init__(self, model: Hainan, durations: Sequence[int]) -> None:
        super().__init__()
        self.vocab_size, self.activation = model.vocab_size, model.joiner.activation
        self.encoder, self.out = EncoderGraph(model), joint_outputs(model, durations)

    def forward(self, audio_signal: Tensor, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        frames, lens = self.encoder(audio_signal, length)
        logits = self.out(self.activation(frames.transpose(1, 2)))
        tokens, durations = logits[..., : self.vocab_size], logits[..., self.vocab_size :]
        return tokens.log_softmax(-1), durations.log_softmax(-1), lens


DecoderGraph = Union[LstmDecoderGraph, LabelDecoderGraph]


def decoder_graph(model: Hainan) -> DecoderGraph:
    """The graph of the model's predictor."""
    predictor = model.predictor
    if isinstance(predictor, LstmPredictor):
        return LstmDecoderGraph(model, predictor)
    return LabelDecoderGraph(model, predictor)


def blank_last(rows: Tensor) -> Tensor:
    """(V, ...) with the first row, the blank's, moved to the end."""
    return torch.cat([rows[BLANK + 1 :], rows[: BLANK + 1]]).detach()


def joint_outputs(model: Hainan, durations: Sequence[int]) -> nn.Linear:
    """The joint's last layer with the blank as last token, then the logits of `durations`.

    A duration that the model does not have gets the logit NEVER. This changes no probability and no choice: its
    exponential is 0 in float32. With no `durations`, only the tokens are left, as an RNN-T has them.
    """
    vocab, source = model.vocab_size, model.joiner.out
    out = nn.Linear(source.in_features, vocab + len(durations))
    with torch.no_grad():
        out.weight.zero_()
        out.bias.fill_(NEVER)
        out.weight[:vocab], out.bias[:vocab] = blank_last(source.weight[:vocab]), blank_last(source.bias[:vocab])
        for index, duration in enumerate(durations):
            if duration in model.durations:
                row = vocab + model.durations.index(duration)
                out.weight[vocab + index], out.bias[vocab + index] = source.weight[row], source.bias[row]
    return out


class PointwiseLinear(nn.Linear):
    """A convolution over one frame (B, C, T) as a matrix product, which onnxruntime quantises by rows."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.transpose(1, 2)).transpose(1, 2)


def with_linear_pointwise(encoder: Encoder) -> Encoder:
    """The encoder, sharing its weights, with PointwiseLinear for convolutions over time of kernel 1."""
    shared = {id(tensor): tensor for tensor in (*encoder.parameters(), *encoder.buffers())}
    encoder = copy.deepcopy(encoder, shared)
    for module in list(encoder.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv1d) and child.kernel_size == (1,) and child.groups == 1:
                linear = PointwiseLinear(child.in_channels, child.out_channels, bias=child.bias is not None)
                linear.weight = nn.Parameter(child.weight.detach()[:, :, 0])
                if child.bias is not None:
                    linear.bias = nn.Parameter(child.bias.detach())
                setattr(module, name, linear)
    return encoder
