"""Weights of NeMo's models by our names.

In NeMo the blank is the last token; here it is token 0, which is epsilon in k2. NeMo's token i is our token i + 1, in
the embeddings and in the outputs of the joint network and of the CTC head.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hainan_k2.config import ModelConfig
from hainan_k2.files.tensors import Stored

_UNUSED = ("preprocessor.", "encoder.pos_enc.")  # filters and sinusoids, which are computed here
_PREFIXES = (
    ("decoder.prediction.dec_rnn.lstm.", "predictor.lstm."),
    ("decoder.prediction.embed.", "predictor.embed."),
    ("decoder.prediction.embeds.", "predictor.embeds."),
    ("decoder.decoder_layers.0.", "ctc."),
    ("ctc_decoder.decoder_layers.0.", "ctc."),
    ("joint.enc.", "joiner.enc."),
    ("joint.pred.", "joiner.pred."),
)


def our_weights(theirs: Mapping[str, Stored], config: ModelConfig) -> dict[str, Stored]:
    """The weights, float32, by our names, with blank as token 0."""
    weights = {our_name(name): value for name, value in theirs.items() if not name.startswith(_UNUSED)}
    return {name: blank_first(as_float32(value), config, name) for name, value in weights.items()}


def our_name(name: str) -> str:
    """Our name of a weight, e.g. `predictor.lstm.X` for `decoder.prediction.dec_rnn.lstm.X`."""
    for theirs, ours in _PREFIXES:
        if name.startswith(theirs):
            return ours + name[len(theirs) :]
    if name.startswith("joint.joint_net."):  # index 1, or 2 where a dropout layer stands before it
        return "joiner.out." + name.rsplit(".", 1)[-1]
    return name


def as_float32(value: Stored) -> Stored:
    """The values as float32."""
    return value.to(torch.float32) if value.dtype.is_floating_point else value


def blank_first(value: Stored, config: ModelConfig, name: str) -> Stored:
    """Where the rows are tokens, move that of blank, the last token, to the front; duration rows stay behind. The
    kernel of a CTC head of width 1 becomes a matrix."""
    part, kind = name.rpartition(".")[::2]
    if not (part in ("joiner.out", "ctc", "predictor.embed") or part.startswith("predictor.embeds.")):
        return value
    shape = value.shape[:2] if part == "ctc" and value.shape[2:] == (1,) else value.shape
    blank = config.vocab_size - 1

    def function(rows: Tensor) -> Tensor:
        return torch.cat([rows[blank : blank + 1], rows[:blank], rows[blank + 1 :]]).reshape(shape)

    return value.map(function, shape, value.dtype)
