"""A model in a directory of its own: all that recognition needs, read without executing anything.

    config.json         format version, dimensions of the model, its features, SHA-256 of the three files that follow
    model.safetensors   weights, without the heads that only training uses, as of hainan_k2.tools.precision
    bpe.model           the tokenizer
    tokens.txt          its pieces and their ids, for people and for FST tools
    provenance.json     where it comes from: commit, options of training, averaged epochs, WER where it was measured
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import torch
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save
from torch import Tensor

from hainan_k2.config import ModelConfig, as_dict, from_dict
from hainan_k2.frontend.audio import SAMPLING_RATE
from hainan_k2.model.hainan import Hainan
from hainan_k2.model.subsampling import subsampled_length
from hainan_k2.text import Tokenizer
from hainan_k2.tools.batches import audio_features
from hainan_k2.tools.precision import PRECISIONS, pack, unpack

FORMAT = 1
RELEASED = Path(__file__).resolve().parents[1] / "released"
TRAINING_HEADS = ("simple_am", "simple_lm")  # the additive joint of the pruned loss
_SIGNED = ("model.safetensors", "bpe.model", "tokens.txt")
_DTYPES = {"F32": "<f4", "F16": "<f2", "I8": "|i1", "I64": "<i8"}


def find_model(name: Union[str, Path]) -> Path:
    """The directory of that name; "released" is the one that comes with the package."""
    path = RELEASED if str(name) == "released" else Path(name)
    if not path.is_dir():
        raise ValueError(f"{path}: no such model directory: make one with hainan-export"
                         + (", this package came without a released one" if path == RELEASED else ""))
    return path


def without_training_heads(model: Hainan) -> Hainan:
    """The same model, its TRAINING_HEADS gone."""
    for name in TRAINING_HEADS:
        setattr(model, name, None)
    return model


def write_model(folder: Path, model: Hainan, tokenizer: Tokenizer, precision: str, provenance: dict[str, Any],
                ctc: bool = False) -> None:
    """Write a model directory; the CTC head is left out unless `ctc`. config.json is written last: it makes a directory
    of files a model. Raises ValueError for an unknown precision or a weight that float16 cannot hold."""
    if precision not in PRECISIONS:
        raise ValueError(f"no precision {precision!r}; there are {', '.join(PRECISIONS)}")
    left_out = TRAINING_HEADS if ctc else (*TRAINING_HEADS, "ctc")
    weights = {name: value for name, value in model.state_dict().items() if name.split(".")[0] not in left_out}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").unlink(missing_ok=True)
    files = {"model.safetensors": _serialised(pack(weights, precision)), "bpe.model": tokenizer.serialised(),
             "tokens.txt": "".join(f"{piece} {i}\n" for i, piece in enumerate(tokenizer.pieces)).encode()}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    write_provenance(folder, provenance)
    config = {**as_dict(model.config), "ctc": ctc and model.config.ctc}
    _write_json(folder / "config.json", {
        "format": FORMAT, "precision": precision, "features": features_of(model.config), "model": config,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}})


def write_provenance(folder: Path, provenance: dict[str, Any]) -> None:
    _write_json(folder / "provenance.json", provenance)


def read_model(folder: Path) -> tuple[Hainan, Tokenizer, dict[str, Any]]:
    """The model, in eval mode, float32, on the CPU; its tokenizer; its provenance.

    Raises ValueError: one line with the file, where one is missing, damaged or not of this model.
    """
    config = _read_config(folder / "config.json")
    provenance = _read_json(folder / "provenance.json")
    for name in _SIGNED:
        _check_hash(folder / name, config["sha256"].get(name))
    weights = _read_weights(folder / "model.safetensors")
    dimensions = config["model"]
    model = _fill(dimensions, weights, folder / "model.safetensors")
    tokenizer = Tokenizer(folder / "bpe.model")
    if tokenizer.vocab_size != dimensions.vocab_size:
        raise ValueError(f"{folder / 'bpe.model'} has {tokenizer.vocab_size} pieces, the model "
                         f"{dimensions.vocab_size}")
    return model.eval(), tokenizer, provenance


def features_of(model: ModelConfig) -> dict[str, Any]:
    spec = audio_features(model)
    return {"kind": spec.kind, "num_mel_bins": spec.num_bins, "sampling_rate": SAMPLING_RATE}


def _serialised(packed: dict[str, Tensor]) -> bytes:
    return save({name: value.numpy() for name, value in packed.items()})


def _read_config(path: Path) -> dict[str, Any]:
    config = _read_json(path)
    if config.get("format") != FORMAT:
        raise ValueError(f"{path}: format {config.get('format')!r}; this version of hainan_k2 reads format {FORMAT}")
    for key in ("model", "features", "sha256"):
        if not isinstance(config.get(key), dict):
            raise ValueError(f"{path} has no {key!r}: it is not the config.json of a hainan_k2 model")
    try:
        dimensions = from_dict(ModelConfig, config["model"])
        features = features_of(dimensions)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if config["features"] != features:
        raise ValueError(f"{path}: features are {json.dumps(config['features'])[:200]}, its encoder hears "
                         f"{json.dumps(features)}")
    return {**config, "model": dimensions}


def _check_hash(path: Path, wanted: Any) -> None:
    if not path.is_file():
        raise ValueError(f"{path} is missing: the model directory is not complete")
    if hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
        raise ValueError(f"{path} is damaged or of another model: its SHA-256 is not the one in config.json")


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        entries = deserialize(path.read_bytes())
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file: {error}") from None
    packed = {}
    for name, entry in entries:
        if entry["dtype"] not in _DTYPES:
            raise ValueError(f"{path}: {name} is of type {entry['dtype']}; {', '.join(_DTYPES)} are read")
        packed[name] = torch.from_numpy(np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]).reshape(entry["shape"])
                                        .copy())
    try:
        weights = unpack(packed)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    for name, value in weights.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ValueError(f"{path}: {name} holds numbers that are not finite")
    return weights


def _fill(config: ModelConfig, weights: dict[str, Tensor], path: Path) -> Hainan:
    """A model with exactly these weights."""
    # Compared before the model is made: what the config says may be larger than any memory.
    _compare(key_shapes(config), {name: tuple(value.shape) for name, value in weights.items()}, path, complete=False)
    try:
        model = without_training_heads(Hainan(config))
    except ValueError as error:
        raise ValueError(f"{path.with_name('config.json')}: {' '.join(str(error).split())}") from None
    state = model.state_dict()
    _compare({name: tuple(value.shape) for name, value in state.items()},
             {name: tuple(value.shape) for name, value in weights.items()}, path, complete=True)
    wrong = [name for name, value in state.items() if value.dtype != weights[name].dtype]
    if wrong:
        raise ValueError(f"{path}: {wrong[0]} is of type {weights[wrong[0]].dtype}, not {state[wrong[0]].dtype}")
    model.load_state_dict(weights)
    return model


def _compare(wanted: dict[str, tuple], found: dict[str, tuple], path: Path, complete: bool) -> None:
    wrong = [f"{name} is {found.get(name, 'missing')}, not {shape}" for name, shape in wanted.items()
             if found.get(name) != shape]
    wrong += [f"{name} has no place" for name in found if complete and name not in wanted]
    if wrong:
        raise ValueError(f"{path} does not fit config.json: {wrong[0]}"
                         + (f", and {len(wrong) - 1} more" if wrong[1:] else ""))


def key_shapes(c: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of weights in which every dimension of the model occurs, the last of every kind of layer."""
    outputs, pre = c.vocab_size + len(c.durations), "encoder.pre_encode."
    shapes: dict[str, tuple[int, ...]] = {
        "joiner.enc.weight": (c.joiner_dim, c.d_model), "joiner.pred.weight": (c.joiner_dim, c.predictor_dim),
        "joiner.out.weight": (outputs, c.joiner_dim), "predictor.embed.weight": (c.vocab_size, c.predictor_dim)}
    if c.predictor == "lstm":
        last = f"predictor.lstm.weight_ih_l{c.predictor_layers - 1}"
        shapes[last] = (4 * c.predictor_dim, c.predictor_dim)
    else:
        group = 4 if c.predictor_dim % 4 == 0 else c.predictor_dim
        shapes["predictor.conv.weight"] = (c.predictor_dim, group, c.predictor_context)
    if c.encoder == "whisper":
        last = f"encoder.whisper.layers.{c.whisper_layers - 1}.qkv.weight"
        shapes[last] = (3 * c.whisper_dim, c.whisper_dim)
    else:
        width = c.subsampling_channels * subsampled_length(c.num_mel_bins)
        shapes[pre + "conv.0.weight"] = (c.subsampling_channels, 1, 3, 3)
        shapes[pre + "out.weight"] = (c.d_model, width)
    if c.num_layers:
        layer = f"encoder.layers.{c.num_layers - 1}."
        shapes[layer + "feed_forward1.linear1.weight"] = (c.ffn_factor * c.d_model, c.d_model)
        shapes[layer + "conv.depthwise_conv.weight"] = (c.d_model, 1, c.conv_kernel)
        shapes[layer + "self_attn.pos_bias_u"] = (c.num_heads, c.d_model // c.num_heads)
    return shapes


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path} is missing: {path.parent} is not a model directory of hainan_k2/export.py")
    try:
        values: Optional[Any] = json.loads(path.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} does not hold a JSON object")
    return values


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
