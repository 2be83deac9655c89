"""NeMo's batched greedy TDT search (GreedyBatchedTDTInfer) with the weights of our models, to be timed beside ours.

NeMo is no dependency. Where it is installed, e.g. in a virtual environment of its own, run the benchmark there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hainan_k2.model.hainan import Hainan
from hainan_k2.model.predictor import LstmPredictor

Found = tuple[list[int], list[int]]  # tokens by our ids, frames


def nemo_greedy(model: Hainan, max_symbols: int) -> Callable[[Tensor, Tensor], list[Found]]:
    """A function from encoder output (B, T, C) and lens (B,) to the tokens and frames that NeMo finds.

    Raises ValueError where NeMo is not installed, and for models that its decoder does not have: it takes a duration's
    index for the duration, and its predictor is an LSTM.
    """
    try:
        from nemo.collections.asr.modules import RNNTDecoder, RNNTJoint
        from nemo.collections.asr.parts.submodules.rnnt_greedy_decoding import GreedyBatchedTDTInfer
    except ImportError as error:
        raise ValueError(f"--nemo needs NeMo (nemo_toolkit[asr]), which cannot be imported: {error}") from None
    c, blank, device = model.config, model.vocab_size - 1, model.joiner.enc.weight.device
    if c.durations != tuple(range(len(c.durations))) or not isinstance(model.predictor, LstmPredictor):
        raise ValueError(f"NeMo has no such model: durations {c.durations}, predictor {c.predictor}")
    prednet = {"pred_hidden": c.predictor_dim, "pred_rnn_layers": c.predictor_layers, "dropout": 0.0}
    sizes = {"encoder_hidden": c.d_model, "pred_hidden": c.predictor_dim, "joint_hidden": c.joiner_dim}
    decoder = RNNTDecoder(prednet=prednet, vocab_size=blank, blank_as_pad=True)
    joint = RNNTJoint({**sizes, "activation": "relu", "dropout": 0.0}, blank, num_extra_outputs=len(c.durations))
    _copy(model.predictor.embed, decoder.prediction["embed"], _blank_last)
    _copy(model.predictor.lstm, decoder.prediction["dec_rnn"].lstm)
    _copy(model.joiner.enc, joint.enc)
    _copy(model.joiner.pred, joint.pred)
    _copy(model.joiner.out, joint.joint_net[-1], lambda rows: _blank_last(rows, blank + 1))
    search = GreedyBatchedTDTInfer(
        decoder.eval().to(device),
        joint.eval().to(device),
        blank_index=blank,
        durations=list(c.durations),
        max_symbols_per_step=max_symbols,
    )

    def found(encoder_out: Tensor, lens: Tensor) -> list[Found]:
        (hypotheses,) = search(encoder_output=encoder_out.transpose(1, 2), encoded_lengths=lens)
        return [(_plus_one(h.y_sequence), _integers(h.timestamp)) for h in hypotheses]

    return found


def _copy(ours: nn.Module, theirs: nn.Module, change: Callable[[Tensor], Tensor] = lambda rows: rows) -> None:
    theirs.load_state_dict({name: change(value) for name, value in ours.state_dict().items()})


def _blank_last(rows: Tensor, vocab_size: int | None = None) -> Tensor:
    """Rows by our ids as NeMo has them: blank behind the tokens; what follows the vocabulary stays behind."""
    end = len(rows) if vocab_size is None else vocab_size
    return torch.cat([rows[1:end], rows[:1], rows[end:]])


def _plus_one(tokens: Any) -> list[int]:
    return [token + 1 for token in _integers(tokens)]


def _integers(values: Tensor | Sequence[Any]) -> list[int]:
    return [int(value) for value in values]
