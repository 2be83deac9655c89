"""Model directories: all files that recognition needs, read without executing anything.

config.json         format version, ModelConfig, features, text normalisation, SHA-256 of the next files; where there
                    are any, options, calibrations and default methods of decoding ("decoding", search/settings.py)
model.safetensors   weights, as packed by hainan_k2.formats.precision, without the heads that only training uses
bpe.model           the tokenizer
tokens.txt          its pieces and their ids, for people and for FST tools
lm.safetensors      optional: a language model over these tokens (fsa/language/lm_file.py)
provenance.json     commit, training options, averaged epochs, WER where it was measured
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional, Union

import torch

from hainan_k2.config import ModelConfig, as_dict, from_dict
from hainan_k2.files.atomic import atomic_file, write_atomic
from hainan_k2.files.checksum import sha256_of
from hainan_k2.files.tensor_file import stored_tensors
from hainan_k2.files.tensors import Weights, serialise
from hainan_k2.formats.precision import PRECISIONS, check_precision, pack, unpack
from hainan_k2.formats.weights import TRAINING_HEADS, model_of_weights
from hainan_k2.frontend.spec import FeatureSpec
from hainan_k2.fsa.language.lm_file import Lm, read_lm, write_lm
from hainan_k2.model.hainan import Hainan
from hainan_k2.search.settings import Decoding, Setting
from hainan_k2.text.tokenizer import Tokenizer

FORMAT = 1
RELEASED = Path(__file__).resolve().parents[1] / "released"
LM = "lm.safetensors"
_SIGNED = ("model.safetensors", "bpe.model", "tokens.txt")
NOTHING = Decoding()
_TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.int64)
CPU = torch.device("cpu")


def find_model(name: Union[str, Path]) -> Path:
    """The model directory of that name, "released" for the one in the package; ValueError where there is none."""
    path = RELEASED if str(name) == "released" else Path(name)
    if not path.is_dir():
        raise ValueError(
            f"{path}: no such model directory: make one with hainan-export"
            + (", this package came without a released one" if path == RELEASED else "")
        )
    return path


def write_model(
    folder: Path,
    model: Hainan,
    tokenizer: Tokenizer,
    precision: str,
    provenance: dict[str, Any],
    ctc: bool = False,
    decoding: Decoding = NOTHING,
    lm: Optional[Lm] = None,
) -> None:
    """Write a model directory; see `write_weights`.

    Args:
      ctc: keep the CTC head.
      decoding: what searches with this model do by default.
      lm: a language model over its tokens.
    """
    config = replace(model.config, ctc=model.config.objective == "ctc" or ctc and model.config.ctc)
    left_out = TRAINING_HEADS if config.ctc else (*TRAINING_HEADS, "ctc")
    weights = {name: value for name, value in model.state_dict().items() if name.split(".")[0] not in left_out}
    write_weights(folder, config, weights, tokenizer, precision, provenance)
    if decoding != NOTHING:
        _write_decoding(folder, decoding)
    if lm is not None:
        _write_lm(folder, lm, tokenizer)


def write_weights(
    folder: Path,
    config: ModelConfig,
    weights: Weights,
    tokenizer: Tokenizer,
    precision: str,
    provenance: dict[str, Any],
) -> None:
    """Write a model directory, config.json last: a folder without it is not a model.

    Args:
      weights: by our names, for this `config`. Stored ones are read one after another.
      precision: one of PRECISIONS.
    Raises:
      ValueError: for an unknown precision or a weight that float16 cannot represent.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"no precision {precision!r}; there are {', '.join(PRECISIONS)}")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", LM):
        (folder / name).unlink(missing_ok=True)
    with atomic_file(folder / "model.safetensors") as stream:
        for piece in serialise(pack(weights, precision), {}):
            stream.write(piece)
    write_atomic(folder / "bpe.model", tokenizer.serialised())
    write_atomic(folder / "tokens.txt", "".join(f"{piece} {i}\n" for i, piece in enumerate(tokenizer.pieces)))
    write_provenance(folder, provenance)
    _write_json(
        folder / "config.json",
        {
            "format": FORMAT,
            "precision": precision,
            "features": features_of(config),
            "text": tokenizer.text_rules,
            "model": as_dict(config),
            "sha256": {name: sha256_of(folder / name) for name in _SIGNED},
        },
    )


def read_decoding(folder: Path) -> Decoding:
    """What searches do by default with the model of a model directory or an experiment folder.

    A model directory has it in config.json, an experiment folder in decoding.json. Raises ValueError for a damaged one.
    """
    path = _decoding_path(folder)
    section = _read_json(path).get("decoding") if path.is_file() else None
    try:
        return NOTHING if section is None else Decoding.from_section(section)
    except ValueError as error:
        raise ValueError(f"{path}: decoding: {error}") from None


def store_setting(folder: Path, setting: Setting) -> None:
    """Keep options and calibration of a method, in place of those kept for the same resources.

    Raises ValueError for the released model, and as `read_decoding`.
    """
    if folder.resolve() == RELEASED:
        raise ValueError(
            "the released model cannot be changed: copy it by hainan-export --model released --out-dir DIR"
        )
    _write_decoding(folder, read_decoding(folder).with_setting(setting))


def read_own_lm(folder: Path, tokenizer: Tokenizer) -> Optional[Lm]:
    """The language model of a model directory; None where it has none. Raises ValueError for a damaged one."""
    return read_lm(folder / LM, tokenizer.pieces) if has_lm(folder) else None


def has_lm(folder: Path) -> bool:
    """Whether a model directory, which `read_model` has checked, has a language model."""
    return (folder / LM).is_file()


def _write_lm(folder: Path, lm: Lm, tokenizer: Tokenizer) -> None:
    write_lm(folder / LM, lm, tokenizer.pieces)
    config = _read_json(folder / "config.json")
    _write_json(folder / "config.json", {**config, "sha256": {**config["sha256"], LM: sha256_of(folder / LM)}})


def _write_decoding(folder: Path, decoding: Decoding) -> None:
    path = _decoding_path(folder)
    _write_json(path, {**(_read_json(path) if path.is_file() else {}), "decoding": decoding.as_section()})


def _decoding_path(folder: Path) -> Path:
    path = folder / "config.json"
    return path if path.is_file() else folder / "decoding.json"


def write_provenance(folder: Path, provenance: dict[str, Any]) -> None:
    """Write provenance.json alone."""
    _write_json(folder / "provenance.json", provenance)


def read_model(
    folder: Path, precision: str = "float32", device: torch.device = CPU
) -> tuple[Hainan, Tokenizer, dict[str, Any]]:
    """The model (eval mode, on `device`), its tokenizer and its provenance.

    Args:
      precision: what the encoder's weights are in memory; one of PRECISIONS, whichever the directory has.
    Raises:
      ValueError: in one line that names the file, where one is missing, damaged or of another model.

    >>> model, tokenizer, provenance = read_model(find_model("released"))
    """
    check_precision(precision, device)
    config = _read_config(folder / "config.json")
    provenance = _read_json(folder / "provenance.json")
    optional = (LM,) if LM in config["sha256"] or has_lm(folder) else ()
    for name in (*_SIGNED, *optional):
        _check_hash(folder / name, config["sha256"].get(name))
    weights = _read_weights(folder / "model.safetensors")
    dimensions = config["model"]
    path = folder / "model.safetensors"
    model = model_of_weights(dimensions, weights, path, "config.json", training_heads=False, precision=precision)
    tokenizer = Tokenizer(folder / "bpe.model")
    if tokenizer.vocab_size != dimensions.vocab_size:
        raise ValueError(f"{folder / 'bpe.model'} has {tokenizer.vocab_size} pieces, the model {dimensions.vocab_size}")
    text, stated = tokenizer.text_rules, config.get("text", {"normalisation": "english"})
    if stated != text:
        raise ValueError(
            f"{folder / 'config.json'}: text is {json.dumps(stated)[:200]}, bpe.model takes {json.dumps(text)}"
        )
    return model.to(device).eval(), tokenizer, provenance


def features_of(model: ModelConfig) -> dict[str, Any]:
    """The features that the encoder of `model` expects, as config.json states them."""
    return FeatureSpec.of_model(model).as_dict()


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
        raise ValueError(
            f"{path}: features are {json.dumps(config['features'])[:200]}, its encoder expects {json.dumps(features)}"
        )
    return {**config, "model": dimensions}


def _check_hash(path: Path, wanted: Any) -> None:
    if not path.is_file():
        raise ValueError(f"{path} is missing: the model directory is not complete")
    if sha256_of(path) != wanted:
        raise ValueError(f"{path} is damaged or of another model: its SHA-256 is not the one in config.json")


def _read_weights(path: Path) -> Weights:
    packed = stored_tensors(path)
    wrong = [name for name, value in packed.items() if value.dtype not in _TYPES]
    if wrong:
        raise ValueError(
            f"{path}: {wrong[0]} is of type {packed[wrong[0]].dtype}; {', '.join(map(str, _TYPES))} are read"
        )
    try:
        return unpack(packed)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


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
    write_atomic(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")
