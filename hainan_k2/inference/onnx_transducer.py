"""The graphs of an ONNX folder in onnxruntime, with greedy searches in numpy, and their comparison with PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hainan_k2.formats.onnx_writer import ENDINGS
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis
from hainan_k2.search.greedy import ar_greedy, nar_greedy
from hainan_k2.search.options import SearchConfig

Emission = tuple[int, int, int]  # token by our ids, encoder frame, duration


class OnnxTransducer:
    """An exported model. Its blank is the last token of the graphs and 0 in what the searches return.

    Args:
      folder: as hainan_k2.formats.onnx_writer writes it.
      precision: a key of ENDINGS.
    Attributes:
      durations: of each class; empty for an RNN-T.
    """

    def __init__(self, folder: Path, precision: str = "float32"):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()

        def session(name: str) -> Any:
            return onnxruntime.InferenceSession(str(folder / f"{name}.{ENDINGS[precision]}"), options)

        self.encoder, self.decoder, self.joiner = map(session, ("encoder", "decoder", "joiner"))
        self.nar = session("nar") if (folder / f"nar.{ENDINGS[precision]}").exists() else None
        metadata = self.encoder.get_modelmeta().custom_metadata_map
        self.blank = int(metadata["vocab_size"])
        self.durations = [int(duration) for duration in metadata["durations"].split(",") if duration]
        self.state_shape = (int(metadata["pred_rnn_layers"]), 1, int(metadata["pred_hidden"]))

    def encode(self, features: np.ndarray) -> np.ndarray:
        """Features (T, F) to projected encoder frames (T', J)."""
        frames, lens = self.encoder.run(None, signal(features))
        return np.asarray(frames[0, :, : lens[0]].T)

    def nar_log_probs(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features (T, F) to log-probabilities of tokens (T', V), the blank last, and of duration classes (T', D)."""
        if self.nar is None:
            raise ValueError("the folder has no graph nar: the predictor was not masked in training")
        tokens, durations, lens = self.nar.run(None, signal(features))
        return tokens[0, : lens[0]], durations[0, : lens[0]]

    def ar_greedy(self, frames: np.ndarray, max_symbols: int) -> list[Emission]:
        """TDT or RNN-T greedy search over projected encoder frames (T', J), one joint evaluation after another."""
        found: list[Emission] = []
        at, count = 0, 0
        predicted, state = self._predict(self.blank, [np.zeros(self.state_shape, np.float32)] * 2)
        while at < len(frames):
            inputs = {"encoder_outputs": frames[None, at, :, None], "decoder_outputs": predicted}
            logits = self.joiner.run(None, inputs)[0][0, 0, 0]
            token, duration = self._decide(logits)
            if token == self.blank:
                at, count = at + max(1, duration), 0
                continue
            found.append((token + 1, at, duration))
            predicted, state = self._predict(token, state)
            count = 0 if duration else count + 1
            if count == max_symbols:
                at, count = at + 1, 0
            at += duration
        return found

    def nar_greedy(self, features: np.ndarray) -> list[Emission]:
        """The walk t -> t + max(1, d) over all frames, without predictor."""
        found: list[Emission] = []
        scores = np.concatenate(self.nar_log_probs(features), 1)
        at = 0
        while at < len(scores):
            token, duration = self._decide(scores[at])
            if token != self.blank:
                found.append((token + 1, at, duration))
            at += max(1, duration)
        return found

    def _decide(self, scores: np.ndarray) -> tuple[int, int]:
        tokens = self.blank + 1
        duration = self.durations[scores[tokens:].argmax()] if self.durations else 0
        return int(scores[:tokens].argmax()), duration

    def _predict(self, token: int, state: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        targets, length = np.array([[token]], np.int32), np.ones(1, np.int32)
        inputs = {"targets": targets, "target_length": length, "states_1": state[0], "states_2": state[1]}
        out, _, *state = self.decoder.run(None, inputs)
        return out, state


def signal(features: np.ndarray) -> dict[str, np.ndarray]:
    """One utterance (T, F) as the inputs of encoder and nar."""
    return {"audio_signal": features.T[None], "length": np.array([len(features)], np.int64)}


@dataclass(frozen=True)
class Comparison:
    """An exported model beside the PyTorch model on one recording.

    Attributes:
      differences: the largest absolute differences of projected frames and of NAR log-probabilities, by name.
      equal: whether the emissions (tokens, frames and durations) of each greedy search are equal, by method.
      tokens: number of tokens of PyTorch's ar-greedy.
      seconds: onnxruntime's time for encoder and ar-greedy, and PyTorch's for the same.
    """

    differences: dict[str, float]
    equal: dict[str, bool]
    tokens: int
    seconds: tuple[float, float]


@torch.no_grad()
def compare(model: Hainan, exported: OnnxTransducer, features: torch.Tensor, options: SearchConfig) -> Comparison:
    """Run both on the features (T, F) of one utterance."""
    array, lens = features.numpy(), torch.tensor([len(features)])
    (encoder_out, lens), encoding = timed(lambda: model.encoder(features[None], lens))
    (reference,), searching = timed(lambda: ar_greedy(model, encoder_out, lens, options))
    frames, onnx_encoding = timed(lambda: exported.encode(array))
    found, onnx_searching = timed(lambda: exported.ar_greedy(frames, options.max_symbols))
    projected = model.joiner.project_encoder(encoder_out)[0]
    pairs = {"encoder frames": (projected.numpy(), frames)}
    equal = {"ar-greedy": emissions(reference) == found}
    if exported.nar is not None:
        tokens, durations = model.joiner.log_probs(projected)
        nar_tokens, nar_durations = exported.nar_log_probs(array)
        classes = [exported.durations.index(duration) for duration in model.durations]  # the others are padding
        pairs["NAR token log-probs"] = tokens.roll(-1, dims=1).numpy(), nar_tokens
        pairs["NAR duration log-probs"] = durations.numpy(), nar_durations[:, classes]
        (nar_reference,) = nar_greedy(model, encoder_out, lens, options)
        equal["nar-greedy"] = emissions(nar_reference) == exported.nar_greedy(array)
    return Comparison(
        {name: float(np.abs(ours - theirs).max()) for name, (ours, theirs) in pairs.items()},
        equal,
        len(reference.tokens),
        (onnx_encoding + onnx_searching, encoding + searching),
    )


def emissions(hypothesis: Hypothesis) -> list[Emission]:
    """The tokens of a hypothesis as a search here returns them."""
    return [(token.id, token.frame, token.duration) for token in hypothesis.tokens]


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """The result of a call, and its seconds."""
    start = time.perf_counter()
    return run(), time.perf_counter() - start
