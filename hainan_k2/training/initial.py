"""Initial weights of a training, `train.py --init-from`: a checkpoint, a model directory, or the released model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

from torch import Tensor

from hainan_k2.config import ModelConfig, as_dict, from_dict
from hainan_k2.formats.checkpoint import load_checkpoint, model_of_state
from hainan_k2.formats.model_dir import RELEASED, read_model
from hainan_k2.model.hainan import Hainan
from hainan_k2.text.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

# May differ: the weights fit all the same.
_FREE = ("dropout", "predictor_dropout", "joiner_dropout", "ctc", "predictor_masking")
# Options on which weights depend without having another shape, by the module that has the weights.
_SAME_SHAPE = {
    "encoder.layers": ("num_heads", "xscaling"),
    "encoder.whisper": ("whisper_heads",),
    "predictor": ("predictor_norm",),
    "joiner": ("durations", "joiner_activation"),
    "simple_am": ("durations",),
    "simple_lm": ("durations",),
}
_TRAINING_HEADS = {"simple_am", "simple_lm", "ctc"}  # model directories have none of these


class Initial(NamedTuple):
    """A trained model that training starts from: its path, its dimensions and its weights, and the tokenizer to train
    with."""

    source: str
    config: ModelConfig
    weights: dict[str, Tensor]
    tokenizer: Tokenizer


def read_initial(name: str, lang_dir: Union[str, Path] = "") -> Initial:
    """Read the initial model.

    Args:
      name: a checkpoint of train.py, a model directory of export.py, or "released", the model in this package.
      lang_dir: folder with bpe.model. A model directory must have the same tokens, and is the default; a checkpoint,
        which has no tokenizer, must have the same number of tokens.

    Raises:
      ValueError: where `name` is none of these, damaged, or has other tokens.
    """
    path = RELEASED if name == "released" else Path(name)
    if path.name == "model.safetensors" and (path.parent / "config.json").is_file():
        path = path.parent
    if (path / "config.json").is_file():
        model, tokenizer, _ = read_model(path)
        config, weights = model.config, model.state_dict()
        if lang_dir and Tokenizer(lang_dir).pieces != tokenizer.pieces:
            raise ValueError(f"{path} has other tokens than --lang-dir {lang_dir}: leave out --lang-dir")
    elif path.is_file():
        config, weights = model_of_state(load_checkpoint(path), path)
        if not lang_dir:
            raise ValueError(f"--lang-dir is required: the checkpoint {path} has no tokenizer")
        tokenizer = Tokenizer(lang_dir)
    else:
        raise ValueError(
            f"--init-from {name} is none of these: a checkpoint of train.py (EXP_DIR/epoch-N.safetensors), "
            "a model directory of export.py (with config.json), released"
        )
    if config.vocab_size != tokenizer.vocab_size:
        raise ValueError(
            f"{path} has {config.vocab_size} tokens, --lang-dir {lang_dir} {tokenizer.vocab_size}: use the --lang-dir "
            "that it was trained with"
        )
    return Initial(str(path), config, weights, tokenizer)


def choose_dimensions(
    preset: Optional[str],
    dimensions: dict[str, Any],
    vocab_size: int,
    initial: Optional[Initial],
    modules: Sequence[str] = (),
) -> ModelConfig:
    """The dimensions of the model to train.

    Args:
      preset: name of a preset; None takes the dimensions of `initial`, or preset M where that is None as well.
      dimensions: single options of ModelConfig, which override the preset's or the initial model's. Of the initial
        model only dropouts and, if they are named here, the features may be others.
      vocab_size: number of tokens V, blank included.
      initial: the model that training starts from.
      modules: as for load_initial. Where only some modules are copied, other dimensions may differ: load_initial
        compares shapes, and here are compared the options of these modules that change no shape.

    A model of objective rnnt or ctc predicts no durations: its only duration is 0, which need not be given.

    Raises:
      ValueError: where the weights of `initial` do not fit these dimensions.
    """
    if dimensions.get("objective", "tdt") != "tdt":
        dimensions = {"durations": (0,), **dimensions}
    if initial is not None and "features" in dimensions:  # weights for features of one kind fit those of another
        initial = initial._replace(config=replace(initial.config, features=dimensions["features"]))
    if preset is None and initial is not None:
        config = from_dict(ModelConfig, {**as_dict(initial.config), "ctc": True, **dimensions})
    else:
        config = ModelConfig.preset(preset or "M", **{**dimensions, "vocab_size": vocab_size})
    if initial is not None:
        own, of_modules = as_dict(config), _options_of(modules)
        compared = {k: value for k, value in as_dict(initial.config).items() if k not in _FREE}
        changed = [k for k, value in compared.items() if own[k] != value and (not modules or k in of_modules)]
        if changed:
            raise ValueError(
                f"{initial.source} was trained with another {', '.join(changed)}: leave out --preset and "
                "these options, and training takes its dimensions"
            )
    return config


def _options_of(modules: Sequence[str]) -> set[str]:
    """The options of _SAME_SHAPE of modules, of what is within them, and of what they are within."""
    parts = [part for part in _SAME_SHAPE if any(_belongs(part, [m]) or _belongs(m, [part]) for m in modules)]
    return {option for part in parts for option in _SAME_SHAPE[part]}


def load_initial(model: Hainan, initial: Initial, modules: Sequence[str] = ()) -> None:
    """Copy the initial weights into the model.

    Args:
      model: the model to train.
      initial: where the weights come from.
      modules: beginnings of the names of weights to copy, e.g. "encoder.layers", "predictor"; none: all. Weights of
        other modules stay as they are. Heads that only training uses, and that `initial` may lack, keep their random
        weights; the log names them.

    Raises:
      ValueError: where weights are missing, unknown or of another shape, or a module has none.
    """
    own = {name: value for name, value in model.state_dict().items() if _belongs(name, modules)}
    weights = {name: value for name, value in initial.weights.items() if name in own}
    for module in modules:
        if not any(_belongs(name, [module]) for name in weights):
            parts = sorted({name.split(".")[0] for name in initial.weights})
            raise ValueError(
                f"--init-modules {module}: {initial.source} has {', '.join(parts)}, and weights within them"
            )
    wrong = [name for name, value in weights.items() if value.shape != own[name].shape]
    heads = sorted({name.split(".")[0] for name in own if name not in weights})
    unknown = [name for name in initial.weights if _belongs(name, modules) and name not in own]
    unknown = [name for name in unknown if not name.startswith("ctc.")]
    if wrong or unknown or not set(heads) <= _TRAINING_HEADS:
        raise ValueError(
            f"{initial.source} has weights that do not fit {'this model' if modules else 'its own dimensions'}: "
            f"{', '.join([*wrong, *unknown, *heads][:3])}"
        )
    model.load_state_dict(weights, strict=False)
    taken = f" for {', '.join(modules)}" if modules else ""
    logger.info("weights of %s%s%s", initial.source, taken, f"; {', '.join(heads)} start at random" if heads else "")


def _belongs(name: str, modules: Sequence[str]) -> bool:
    """Whether a weight belongs to one of the modules, or there are none."""
    return not modules or any(name == module or name.startswith(module + ".") for module in modules)
