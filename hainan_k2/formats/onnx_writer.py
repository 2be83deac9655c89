"""ONNX folders: the graphs of hainan_k2.formats.onnx_graphs in float32 and int8, with their tokens.

encoder.onnx decoder.onnx joiner.onnx      of the transducer; encoder.int8.onnx and so on are the same, quantised
nar.onnx                                   features to log-probabilities without predictor, if it was masked in training
tokens.txt                                 pieces and ids, the blank last
encoder-model.onnx decoder_joint-model.onnx vocab.txt config.json      for onnx-asr; the first is a link to encoder.onnx

Weights above 1.8 GB are in a file beside their graph, encoder.onnx.data.
"""

from __future__ import annotations

import inspect
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from hainan_k2.files.atomic import write_atomic
from hainan_k2.formats import onnx_runtimes
from hainan_k2.formats.onnx_interface import Graph, graphs
from hainan_k2.model.hainan import Hainan
from hainan_k2.text.tokenizer import Tokenizer

NAMES = ("encoder", "decoder", "joiner", "nar", "encoder-model", "decoder_joint-model")
ENDINGS = {"float32": "onnx", "int8": "int8.onnx"}  # of file names, by precision
OPSET = 17
LARGEST = 1_800_000_000  # bytes of weights in one file; protobuf's limit is 2 GB
QUANTISED = ("MatMul", "Gather", "LSTM")  # depthwise convolutions are small, and slower in int8

logger = logging.getLogger(__name__)


def require_onnx() -> None:
    """Raises ValueError, with what to install, if the packages are missing."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"ONNX needs the packages onnx and onnxruntime ({error}): pip install 'hainan_k2[onnx]'"
        ) from None


def write_onnx(
    folder: Path, model: Hainan, tokenizer: Tokenizer, runtimes: Sequence[str], max_symbols: int
) -> list[str]:
    """Write an ONNX folder; returns the names of the graphs.

    Args:
      model: in evaluation mode, on the CPU, float32.
      runtimes: of RUNTIMES; with none, the model may have any features and durations.
      max_symbols: tokens on one frame at most, for onnx-asr; sherpa-onnx has a limit of its own, 5.
    Raises:
      ValueError: for a model that a runtime cannot run, without the packages, for the folder of a model directory,
        and for a token that tokens.txt cannot hold.
    """
    onnx_runtimes.check_runtimes(runtimes, model)
    require_onnx()
    if (folder / "model.safetensors").exists():
        raise ValueError(f"{folder} is a model directory, whose config.json and tokens.txt would be lost: name another")
    tokens = onnx_runtimes.token_lines(tokenizer.pieces)
    folder.mkdir(parents=True, exist_ok=True)
    remove_graphs(folder)
    durations = onnx_runtimes.runtime_durations(model, runtimes)
    every = graphs(model, durations)
    layers, _, width = every["decoder"].inputs["states_1"]
    metadata = onnx_runtimes.metadata(model, durations, (layers, width))
    if "onnx-asr" not in runtimes:
        del every["decoder_joint-model"]
    for name, graph in every.items():
        whole, small = (folder / f"{name}.{ending}" for ending in ENDINGS.values())
        write_graph(whole, graph, metadata)
        quantise(whole, small)
    write_atomic(folder / "tokens.txt", tokens)
    if "onnx-asr" in runtimes:
        for ending in ENDINGS.values():
            link(folder / f"encoder.{ending}", folder / f"encoder-model.{ending}")
        write_atomic(folder / "vocab.txt", tokens)
        write_atomic(folder / "config.json", onnx_runtimes.onnx_asr_config(model, max_symbols))
    return list(every)


def remove_graphs(folder: Path) -> None:
    """Remove what an earlier export wrote, since a model need not have all graphs."""
    for name in NAMES:
        for ending in ENDINGS.values():
            for data in ("", ".data"):
                (folder / f"{name}.{ending}{data}").unlink(missing_ok=True)
    for name in ("tokens.txt", "vocab.txt", "config.json"):
        (folder / name).unlink(missing_ok=True)


def write_graph(path: Path, graph: Graph, metadata: dict[str, str]) -> None:
    """Trace a graph and write it with its metadata."""
    import onnx

    # From torch 2.9 on the default exporter is another one, which needs more packages.
    legacy = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of checks of the example's sizes
        traced = os.path.join(scratch, "traced.onnx")
        torch.onnx.export(
            graph.module.eval(),
            graph.examples(),
            traced,
            opset_version=OPSET,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_axes=graph.varying_axes(),
            **legacy,
        )
        proto = onnx.load(traced)
        for key, value in metadata.items():
            proto.metadata_props.add(key=key, value=value)
        place(proto, path, scratch)


def quantise(source: Path, path: Path) -> None:
    """Write the int8 form of a graph: weights by row or column, activations when they are computed."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(dir=path.parent) as scratch, quiet_root_logger():
        written = os.path.join(scratch, "quantised.onnx")
        quantize_dynamic(
            str(source),
            written,
            list(QUANTISED),
            per_channel=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=False,
        )
        place(onnx.load(written), path, scratch)


def place(proto: Any, path: Path, scratch: str) -> None:
    """Write a model to `path`, its weights to a file beside it if they are large; complete or not at all."""
    import onnx

    size = sum(len(tensor.raw_data) for tensor in proto.graph.initializer)
    graph, data = (Path(scratch) / name for name in (path.name, path.name + ".data"))
    onnx.save(proto, str(graph), save_as_external_data=size > LARGEST, location=data.name)
    if data.exists():
        shutil.copymode(graph, data)  # onnx writes data that only its owner may read
        os.replace(data, path.parent / data.name)
    os.replace(graph, path)


def link(source: Path, path: Path) -> None:
    """A second name of a file; a copy where the file system has no links. A data file keeps its name."""
    path.unlink(missing_ok=True)
    try:
        os.link(source, path)
    except OSError:
        shutil.copyfile(source, path)


@contextmanager
def quiet_root_logger() -> Iterator[None]:
    """Keeps onnxruntime's advice about preprocessing, which does not concern these graphs, off the root logger."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
