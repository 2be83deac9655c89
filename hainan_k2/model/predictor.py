"""Predictors (label-side networks): LSTM, stateless, concat. The start symbol SOS is the blank's embedding: a zero
vector, unless an imported model was trained with another one.

All compute outputs for all labels in parallel (`forward`) or label by label (`step`). A state is a tuple of tensors
with the batch as dimension 0, so that a search can select and reorder states of any predictor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Optional, Union

import torch
from torch import Tensor, nn

from hainan_k2.config import ModelConfig

State = tuple[Tensor, ...]  # each (B, ...)


class LstmPredictor(nn.Module):
    """Embedding and LSTM layers."""

    def __init__(self, vocab_size: int, dim: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.dim = dim
        self.embed = nn.Embedding(vocab_size, dim, padding_idx=0)
        self.lstm = nn.LSTM(dim, dim, num_layers, batch_first=True, dropout=dropout if num_layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)

    def forward(self, labels: Tensor) -> Tensor:
        """labels (B, U) -> (B, U+1, H): output u depends on SOS and the first u labels."""
        out, _ = self.lstm(self.embed(nn.functional.pad(labels, (1, 0))))
        return self.dropout(out)

    def initial_state(
        self, batch_size: int, device: Optional[torch.device] = None, dtype: torch.dtype = torch.float32
    ) -> State:
        """The state before SOS, zeros; `dtype` is that of the encoder output."""
        shape = (batch_size, self.lstm.num_layers, self.dim)
        return torch.zeros(shape, device=device, dtype=dtype), torch.zeros(shape, device=device, dtype=dtype)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """tokens (B,), the last label of each (0 = SOS) -> output (B, H) and the next state.

        By cells: nn.LSTM prepares itself for longer sequences, which takes longer than a single step.
        """
        out, layers = self.embed(tokens), []
        for layer, (hidden, cell) in enumerate(zip(*(s.unbind(1) for s in state))):
            names = (f"{name}_l{layer}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
            layers.append(torch.lstm_cell(out, (hidden, cell), *(getattr(self.lstm, name) for name in names)))
            out = layers[-1][0]
        return self.dropout(out), tuple(torch.stack(part, dim=1) for part in zip(*layers))

    def unroll(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """tokens (B, L), consumed one after another -> outputs (B, L, H) and the states after each, (B, L, ...).

        Cell by cell, for nn.LSTM keeps the last state only.
        """
        hidden, cell = state
        outputs, states = self.embed(tokens), []
        for layer in range(self.lstm.num_layers):
            names = (f"{name}_l{layer}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
            weight_in, weight_hidden, bias_in, bias_hidden = (getattr(self.lstm, name) for name in names)
            gates = nn.functional.linear(outputs, weight_in, bias_in + bias_hidden).unbind(1)
            weight_hidden, h, c = weight_hidden.t(), hidden[:, layer], cell[:, layer]
            hiddens, cells = [], []
            for gate in gates:
                i, f, g, o = torch.addmm(gate, h, weight_hidden).chunk(4, dim=1)
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * c.tanh()
                hiddens.append(h)
                cells.append(c)
            outputs = torch.stack(hiddens, 1)
            states.append((outputs, torch.stack(cells, 1)))
        return self.dropout(outputs), tuple(torch.stack(part, 2) for part in zip(*states))


class ContextPredictor(nn.Module, ABC):
    """A predictor whose output depends on the last `context` labels alone; subclasses compute `outputs`."""

    context: int

    @abstractmethod
    def outputs(self, labels: Tensor) -> Tensor:
        """labels (B, U + context - 1) -> (B, U, H), the output after each `context` labels in a row."""

    def forward(self, labels: Tensor) -> Tensor:
        """labels (B, U) -> (B, U+1, H): output u depends on labels u-context+1 ... u, with SOS before the first one."""
        return self.outputs(nn.functional.pad(labels, (self.context, 0)))

    def initial_state(
        self, batch_size: int, device: Optional[torch.device] = None, dtype: torch.dtype = torch.float32
    ) -> State:
        """The state before SOS: blanks; label ids have no `dtype`."""
        return (torch.zeros((batch_size, self.context - 1), dtype=torch.int64, device=device),)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """tokens (B,), the last label of each (0 = SOS) -> output (B, H) and the next state."""
        labels = torch.cat([state[0], tokens[:, None]], dim=1)
        return self.outputs(labels)[:, 0], (labels[:, 1:],)

    def unroll(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """tokens (B, L), consumed one after another -> outputs (B, L, H) and the states after each, (B, L, ...)."""
        seen = torch.cat([state[0], tokens], dim=1)
        return self.outputs(seen), (seen.unfold(1, self.context, 1)[:, :, 1:],)


class StatelessPredictor(ContextPredictor):
    """Embeddings of the last `context` labels and a grouped convolution over them (arXiv 2109.07513 uses one label)."""

    def __init__(self, vocab_size: int, dim: int, context: int, dropout: float) -> None:
        super().__init__()
        if context < 1:
            raise ValueError(f"predictor_context is {context}: a stateless predictor needs at least one label")
        self.context = context
        self.embed = nn.Embedding(vocab_size, dim, padding_idx=0)
        groups = dim // 4 if dim % 4 == 0 else 1
        self.conv = nn.Conv1d(dim, dim, context, groups=groups, bias=False)
        self.dropout = nn.Dropout(dropout)

    def outputs(self, labels: Tensor) -> Tensor:
        embedded = self.embed(labels).transpose(1, 2)
        return self.dropout(self.conv(embedded).transpose(1, 2).relu())


class ConcatPredictor(ContextPredictor):
    """The embeddings of the last `context` labels side by side, each position with a table of its own.

    The last label has at least half of the channels, the others share the rest. This is the StatelessNet of NeMo.

    Args:
      norm: normalise each output to mean 0 and variance 1, without weights.
    """

    def __init__(self, vocab_size: int, dim: int, context: int, dropout: float, norm: bool) -> None:
        super().__init__()
        other = dim // 2 // context
        if not other and context > 1:
            raise ValueError(f"predictor_dim is {dim}: too few channels for {context} labels")
        self.dim, self.context, self.norm = dim, context, norm
        widths = [dim - other * (context - 1)] + [other] * (context - 1)  # the last label first
        self.embeds = nn.ModuleList(nn.Embedding(vocab_size, width, padding_idx=0) for width in widths)
        self.dropout = nn.Dropout(dropout)

    def outputs(self, labels: Tensor) -> Tensor:
        count = labels.shape[1] - self.context + 1
        parts = [
            embed(labels[:, self.context - 1 - back : self.context - 1 - back + count])
            for back, embed in enumerate(self.embeds)
        ]
        out: Tensor = self.dropout(torch.cat(parts, 2))
        if not self.norm:
            return out
        scale, shift = out.new_ones(self.dim), out.new_zeros(self.dim)  # torch 1.13 exports no norm without them
        return nn.functional.layer_norm(out, (self.dim,), scale, shift)


Predictor = Union[LstmPredictor, StatelessPredictor, ConcatPredictor]


def make_predictor(config: ModelConfig) -> Predictor:
    """The predictor that `config.predictor` names."""
    c = config
    if c.predictor == "lstm":
        return LstmPredictor(c.vocab_size, c.predictor_dim, c.predictor_layers, c.predictor_dropout)
    if c.predictor == "concat":
        return ConcatPredictor(
            c.vocab_size, c.predictor_dim, c.predictor_context, c.predictor_dropout, c.predictor_norm
        )
    return StatelessPredictor(c.vocab_size, c.predictor_dim, c.predictor_context, c.predictor_dropout)
