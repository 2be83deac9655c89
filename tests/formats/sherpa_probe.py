"""Reads the features that sherpa-onnx computes: a transducer whose tokens' probabilities are the features.

    encoder   (1, F, T) -> (1, 1, T F): every value is a frame
    joiner    frame x -> logits (x / SCALE, 0) of tokens "+" and "-", a low one of the blank, and a duration of 1

So each value gives one token, "+" where it is positive, of log-probability -log(1 + exp(-|x| / SCALE)).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hainan_k2.frontend.audio import SAMPLING_RATE

SCALE = 8.0
METADATA = {"vocab_size": 2, "subsampling_factor": 8, "normalize_type": "per_feature", "url": "tdt"}
METADATA |= {"pred_rnn_layers": 1, "pred_hidden": 1}


def sherpa_features(folder: Path, samples: np.ndarray, num_bins: int) -> np.ndarray:
    """The features (T, F) that the installed sherpa-onnx computes of `samples` (N,) at 16 kHz, to about 1e-5.

    The graphs are written to `folder`.
    """
    import sherpa_onnx

    _write_graphs(folder, num_bins)
    names = {name: str(folder / f"{name}.onnx") for name in ("encoder", "decoder", "joiner")}
    runtime = sherpa_onnx.OfflineRecognizer.from_transducer(
        **names, tokens=str(folder / "tokens.txt"), model_type="nemo_transducer"
    )
    stream = runtime.create_stream()
    stream.accept_waveform(SAMPLING_RATE, samples)
    runtime.decode_stream(stream)
    signs = np.array([1.0 if token == "+" else -1.0 for token in stream.result.tokens])
    log_probs = np.array(stream.result.ys_log_probs, dtype=np.float64)
    return (signs * -np.log(np.expm1(-log_probs)) * SCALE).reshape(-1, num_bins)


def _write_graphs(folder: Path, num_bins: int) -> None:
    from onnx import TensorProto, helper

    def tensor(name: str, values: list) -> object:
        kind = TensorProto.INT64 if isinstance(values[0], int) else TensorProto.FLOAT
        return helper.make_tensor(name, kind, [len(values)], values)

    signal = _value("x", ["B", num_bins, "T"]), _value("length", ["B"], "INT64")
    _write(
        folder / "encoder.onnx",
        [("Transpose", ["x"], "frames"), ("Reshape", ["frames", "shape"], "y"), ("Mul", ["length", "bins"], "lens")],
        signal,
        (_value("y", ["B", 1, "S"]), _value("lens", ["B"], "INT64")),
        (tensor("shape", [0, 1, -1]), tensor("bins", [num_bins])),
        **METADATA,
        feat_dim=num_bins,
    )
    states = _value("h", [1, "B", 1]), _value("c", [1, "B", 1])
    targets = _value("targets", ["B", "U"], "INT32"), _value("target_length", ["B"], "INT32")
    _write(
        folder / "decoder.onnx",
        [("Identity", ["h"], "y"), ("Identity", ["target_length"], "lens")]
        + [("Identity", ["h"], "next_h"), ("Identity", ["c"], "next_c"), ("Identity", ["targets"], "unused")],
        (*targets, *states),
        (_value("y", [1, "B", 1]), _value("lens", ["B"], "INT32"))
        + (_value("next_h", [1, "B", 1]), _value("next_c", [1, "B", 1]), _value("unused", ["B", "U"], "INT32")),
    )
    _write(
        folder / "joiner.onnx",
        [("Mul", ["frame", "scale"], "z"), ("Unsqueeze", ["others", "front"], "rest"), ("Concat", ["z", "rest"], "y")]
        + [("Identity", ["label"], "unused")],
        (_value("frame", [1, 1, 1]), _value("label", ["A", "B", "C"])),
        (_value("y", [1, 1, 5]), _value("unused", ["A", "B", "C"])),
        (tensor("scale", [1 / SCALE]), tensor("others", [0.0, -1e4, 0.0, 1.0]), tensor("front", [0, 1])),
    )
    (folder / "tokens.txt").write_text("+ 0\n- 1\n<blk> 2\n")


def _value(name: str, shape: list, kind: str = "FLOAT") -> object:
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, getattr(TensorProto, kind), shape)


def _write(path: Path, nodes: list, inputs: tuple, outputs: tuple, constants: tuple = (), **metadata: object) -> None:
    import onnx
    from onnx import helper

    options = {"Transpose": {"perm": [0, 2, 1]}, "Concat": {"axis": 2}}
    made = [helper.make_node(kind, taken, [given], **options.get(kind, {})) for kind, taken, given in nodes]
    graph = helper.make_graph(made, path.stem, inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=str(value))
    onnx.save(model, str(path))
