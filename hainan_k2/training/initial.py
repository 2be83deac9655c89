"""The weights that training begins with, `train.py --init-from`: of a checkpoint, or of a model directory."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Optional

from torch import Tensor

from hainan_k2.config import ModelConfig, as_dict, from_dict
from hainan_k2.formats.checkpoint import load_checkpoint, model_of_state
from hainan_k2.formats.model_dir import RELEASED, read_model
from hainan_k2.model.hainan import Hainan
from hainan_k2.text.tokenizer import Tokenizer

_FREE = ("dropout", "predictor_dropout", "joiner_dropout", "ctc")  # may differ: weights mean the same with and without


class Initial(NamedTuple):
    """A trained model to begin with: where it is, its dimensions, its weights."""

    source: str
    config: ModelConfig
    weights: dict[str, Tensor]


def read_initial(name: str, tokenizer: Tokenizer) -> Initial:
    """The model of a checkpoint file, of a model directory, or, named "released", of the package.

    Raises:
      ValueError: where it is none of these, damaged, or of other tokens than the tokenizer's. A checkpoint says nothing
        but how many tokens there are.
    """
    path = RELEASED if name == "released" else Path(name)
    if path.name == "model.safetensors" and (path.parent / "config.json").is_file():
        path = path.parent
    if (path / "config.json").is_file():
        model, theirs, _ = read_model(path)
        config, weights = model.config, model.state_dict()
        if theirs.pieces != tokenizer.pieces:
            raise ValueError(f"{path} has other tokens than --lang-dir: give its own folder, --lang-dir {path}")
    elif path.is_file():
        config, weights = model_of_state(load_checkpoint(path), path)
    else:
        raise ValueError(
            f"--init-from {name}: there is none of what it takes: a checkpoint of train.py "
            "(EXP_DIR/epoch-N.safetensors), a model directory of export.py (with config.json), released"
        )
    if config.vocab_size != tokenizer.vocab_size:
        raise ValueError(
            f"{path} has {config.vocab_size} tokens, --lang-dir {tokenizer.vocab_size}: use the one that "
            "it was trained with"
        )
    return Initial(str(path), config, weights)


def choose_dimensions(
    preset: Optional[str], dimensions: dict[str, Any], vocab_size: int, initial: Optional[Initial]
) -> ModelConfig:
    """The dimensions to train: those of `initial` where it is given and no preset is, else the preset's (M if None);
    `dimensions` on top.

    Raises:
      ValueError: where the weights of `initial` are for others.
    """
    if preset is None and initial is not None:
        config = from_dict(ModelConfig, {**as_dict(initial.config), "ctc": True, **dimensions})
    else:
        config = ModelConfig.preset(preset or "M", **{**dimensions, "vocab_size": vocab_size})
    if initial is not None:
        same = replace(config, **{name: getattr(initial.config, name) for name in _FREE})
        changed = [name for name, value in as_dict(initial.config).items() if as_dict(same)[name] != value]
        if changed:
            raise ValueError(
                f"{initial.source} was trained with another {', '.join(changed)}: without --preset, and "
                "without these options, training takes its dimensions"
            )
    return config


def begin_with(model: Hainan, initial: Initial) -> None:
    """Put the weights in. Heads that `initial` does not have, as model directories lack those that only training uses,
    keep their random weights; which these are is logged."""
    wanted = model.state_dict()
    found = {name: value for name, value in initial.weights.items() if name in wanted}
    wrong = [name for name, value in found.items() if value.shape != wanted[name].shape]
    heads = sorted({name.split(".")[0] for name in wanted if name not in found})
    unknown = [name for name in initial.weights if name not in wanted and not name.startswith("ctc.")]
    if wrong or unknown or not set(heads) <= {"simple_am", "simple_lm", "ctc"}:
        raise ValueError(
            f"{initial.source} has weights that do not fit its own dimensions: "
            f"{', '.join([*wrong, *unknown, *heads][:3])}"
        )
    model.load_state_dict(found, strict=False)
    logging.info("weights of %s%s", initial.source, f"; {', '.join(heads)} begin at random" if heads else "")
