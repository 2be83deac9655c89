"""Parakeet models in the folders of the transformers library: ParakeetForTDT, ParakeetForRNNT and ParakeetForCTC.

config.json                    dimensions
model.safetensors              weights, or model.safetensors.index.json, which names several such files
preprocessor_config.json       features
tokenizer.json                 tokens

The blank is the last token there, and token 0 here: their token i is our token i + 1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hainan_k2.config import ModelConfig, shown
from hainan_k2.files.checksum import sha256_of
from hainan_k2.files.tensor_file import stored_tensors
from hainan_k2.files.tensors import Stored
from hainan_k2.formats.foreign_options import Section
from hainan_k2.formats.imported import Imported
from hainan_k2.formats.nemo_weights import as_float32, blank_first
from hainan_k2.frontend.nemo_options import transformers_options
from hainan_k2.text.imported import import_tokenizer_json

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_OBJECTIVES = {"parakeet_tdt": "tdt", "parakeet_rnnt": "rnnt", "parakeet_ctc": "ctc"}
_MAX_JSON = 1 << 26  # bytes
_PREFIXES = (
    (r"encoder\.subsampling\.layers\.", "encoder.pre_encode.conv."),
    (r"encoder\.subsampling\.linear\.", "encoder.pre_encode.out."),
    (r"(encoder\.layers\.\d+\.conv)\.norm\.", r"\1.batch_norm."),
    (r"(encoder\.layers\.\d+\.self_attn)\.([qkv])_proj\.", r"\1.linear_\2."),
    (r"(encoder\.layers\.\d+\.self_attn)\.o_proj\.", r"\1.linear_out."),
    (r"(encoder\.layers\.\d+\.self_attn)\.relative_k_proj\.", r"\1.linear_pos."),
    (r"(encoder\.layers\.\d+\.self_attn)\.bias_([uv])$", r"\1.pos_bias_\2"),
    (r"decoder\.embedding\.", "predictor.embed."),
    (r"decoder\.lstm\.", "predictor.lstm."),
    (r"decoder\.decoder_projector\.", "joiner.pred."),
    (r"encoder_projector\.", "joiner.enc."),
    (r"joint\.head\.", "joiner.out."),
    (r"ctc_head\.", "ctc."),
)


@contextmanager
def read_parakeet(folder: Path) -> Iterator[Imported]:
    """A context with the model of a transformers folder, checked.

    Raises ValueError, in one line that names the file, for a model that is damaged or not supported.
    """
    root = Section(read_json(folder / CONFIG), str(folder / CONFIG))
    features, tokens = folder / "preprocessor_config.json", folder / "tokenizer.json"
    config = model_config(root, transformers_options(read_json(features), str(features)))
    tokenizer = import_tokenizer_json(_content(tokens), str(tokens), config.vocab_size - 1)
    files = weight_files(folder)
    theirs: dict[str, Stored] = {}
    for path in files:
        theirs.update(stored_tensors(path))
    weights = {our_name(name): as_float32(value) for name, value in theirs.items()}
    provenance = {
        "imported": {
            "file": folder.name,
            "sha256": {path.name: sha256_of(path) for path in files},
            "program": f"transformers {root.get('transformers_version', 'of an unknown version')}",
            "class": root.get("model_type"),
            "ignored": sorted({"generation_config.json", "tokenizer_config.json"} & {p.name for p in folder.iterdir()}),
        }
    }
    blank = {name: blank_first(value, config, name) for name, value in weights.items()}
    model = Imported(folder, config, blank, tokenizer, provenance)
    model.check()
    yield model


def model_config(root: Section, features: Mapping[str, Any]) -> ModelConfig:
    """The configuration of the model; ValueError for options that are not supported."""
    objective = _OBJECTIVES[root.require("model_type", None, *_OBJECTIVES)]
    vocab_size, ctc = root.number("vocab_size"), objective == "ctc"
    root.require("pad_token_id" if ctc else "blank_token_id", None, vocab_size - 1)
    options = {**encoder_options(root.section("encoder_config")), **features}
    if options["num_mel_bins"] != root.section("encoder_config").number("num_mel_bins", 80):
        raise ValueError(f"{root.name}: num_mel_bins is not the number of features, {options['num_mel_bins']}")
    if not ctc:
        width = root.number("decoder_hidden_size", 640)
        options.update(
            predictor_dim=width,
            joiner_dim=width,
            predictor_layers=root.number("num_decoder_layers", 2),
            joiner_activation=root.require("hidden_act", "relu", "relu", "tanh", "sigmoid"),
        )
    durations = root.numbers("durations") or (0, 1, 2, 3, 4)
    try:
        return ModelConfig(
            **options,
            objective=objective,
            durations=durations if objective == "tdt" else (0,),
            vocab_size=vocab_size,
            predictor_masking=False,
            ctc=ctc,
        )
    except ValueError as error:
        raise ValueError(f"{root.name}: {error}") from None


def encoder_options(encoder: Section) -> dict[str, Any]:
    """Options of a ModelConfig for the section `encoder_config`."""
    d_model, hidden = encoder.number("hidden_size", 1024), encoder.number("intermediate_size", 4096)
    if d_model < 1 or hidden % d_model:
        raise ValueError(f"{encoder.name}: intermediate_size {hidden} is not a multiple of hidden_size {d_model}")
    heads, bias = encoder.number("num_attention_heads", 8), encoder.flag("attention_bias", True)
    encoder.require("num_key_value_heads", heads, heads)
    encoder.require("convolution_bias", True, bias)
    encoder.require("hidden_act", "silu", "silu")
    encoder.require("subsampling_factor", 8, 8)
    encoder.require("subsampling_conv_kernel_size", 3, 3)
    encoder.require("subsampling_conv_stride", 2, 2)
    return {
        "d_model": d_model,
        "num_layers": encoder.number("num_hidden_layers", 24),
        "num_heads": heads,
        "ffn_factor": hidden // d_model,
        "conv_kernel": encoder.number("conv_kernel_size", 9),
        "subsampling_channels": encoder.number("subsampling_conv_channels", 256),
        "xscaling": encoder.flag("scale_input", True),
        "bias": bias,
        "dropout": encoder.share("dropout", 0.1),
    }


def our_name(name: str) -> str:
    """Our name of a weight, e.g. `joiner.out.bias` for `joint.head.bias`."""
    for pattern, ours in _PREFIXES:
        if re.match(pattern, name):
            return re.sub(pattern, ours, name, count=1)
    return name


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder, which an index names if there are several."""
    if not (folder / INDEX).is_file():
        if not (folder / WEIGHTS).is_file():
            raise ValueError(f"{folder} holds neither {WEIGHTS} nor {INDEX}: other formats of weights are not read")
        return [folder / WEIGHTS]
    listed = read_json(folder / INDEX).get("weight_map")
    names = sorted(set(map(str, listed.values()))) if isinstance(listed, dict) else []
    wrong = [name for name in names if not re.fullmatch(r"[\w.-]+\.safetensors", name) or not (folder / name).is_file()]
    if not names or wrong:
        raise ValueError(f"{folder / INDEX} names no files of this folder: {shown(wrong[0] if wrong else listed)}")
    return [folder / name for name in names]


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; ValueError where it is missing, no JSON object, or larger than 64 MiB."""
    try:
        values = json.loads(_content(path).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(reason if str(path) in reason else f"{path} is not JSON: {reason}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} does not hold a JSON object")
    return values


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_JSON + 1)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None
    if len(content) > _MAX_JSON:
        raise ValueError(f"{path} has more than {_MAX_JSON} bytes")
    return content
