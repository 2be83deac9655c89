"""A model from a configuration and weights, which are checked against it: either may come from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Optional

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hainan_k2.config import ModelConfig
from hainan_k2.files.tensors import Weights, in_memory
from hainan_k2.formats.precision import encoder_dtype, is_finite, quantised
from hainan_k2.model.hainan import Hainan

TRAINING_HEADS = ("simple_am", "simple_lm")  # the additive joint of the pruned loss


def without_training_heads(model: Hainan) -> Hainan:
    """The same model object, with its TRAINING_HEADS removed."""
    for name in TRAINING_HEADS:
        setattr(model, name, None)
    return model


def model_of_weights(
    config: ModelConfig,
    weights: Weights,
    path: Path,
    source: str,
    training_heads: bool,
    precision: str = "float32",
) -> Hainan:
    """A model with exactly these weights, on the CPU.

    Args:
      weights: by our names. Stored ones are read one after another.
      path: the file of the weights, for error messages.
      source: the origin of `config`, for error messages.
      training_heads: whether the model has TRAINING_HEADS.
      precision: of the encoder; all other weights are float32. int8: its linear layers compute in int8.
    Raises:
      ValueError: in one line that names the file, where names, shapes or types are not those of the configuration, or
        a weight is not finite.
    """
    try:
        model = empty_model(config, training_heads)
    except ValueError as error:
        raise ValueError(f"{path} does not fit {source}: {' '.join(str(error).split())}") from None
    state = model.state_dict()
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    compare_shapes({name: tuple(value.shape) for name, value in state.items()}, shapes, path, source)
    wrong = [name for name, value in state.items() if value.dtype != weights[name].dtype]
    if wrong:
        raise ValueError(f"{path}: {wrong[0]} is of type {weights[wrong[0]].dtype}, not {state[wrong[0]].dtype}")
    for part, names in groupby(state, key=lambda name: name.rpartition(".")[0]):
        for name in names:
            value = in_memory(weights[name])
            if not is_finite(value):
                raise ValueError(f"{path}: {name} holds numbers that are not finite")
            if part.startswith("encoder.") and value.is_floating_point():
                value = value.to(encoder_dtype(precision))
            _assign(model, name, value)
        layer = model.get_submodule(part)
        if precision == "int8" and part.startswith("encoder.") and isinstance(layer, nn.Linear):
            owner, _, last = part.rpartition(".")
            setattr(model.get_submodule(owner), last, quantised(layer))
    return model


def empty_model(config: ModelConfig, training_heads: bool) -> Hainan:
    """A model whose weights have shapes and no values, and take no memory, whatever `config` states.

    Raises ValueError for dimensions that no model has.
    """
    try:
        with _WithoutValues():
            model = Hainan(config)
    except RuntimeError as error:  # sizes beyond 64 bits
        raise ValueError(" ".join(str(error).split())) from None
    return model if training_heads else without_training_heads(model)


class _WithoutValues(TorchFunctionMode):
    """Within this context, new tensors are on torch's meta device (`torch.device("meta")` does this from torch 2.0)."""

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Optional[dict[str, Any]] = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in (torch.empty, torch.zeros, torch.ones, torch.tensor) and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return function(*args, **kwargs)


def _assign(model: nn.Module, name: str, value: Tensor) -> None:
    """Make `value` the parameter or buffer of that name."""
    owner, _, last = name.rpartition(".")
    module = model.get_submodule(owner)
    old = getattr(module, last)
    setattr(module, last, nn.Parameter(value, old.requires_grad) if isinstance(old, nn.Parameter) else value)


def compare_shapes(
    wanted: dict[str, tuple[int, ...]], shapes: dict[str, tuple[int, ...]], path: Path, source: str
) -> None:
    """Raises ValueError unless `shapes` are exactly the wanted ones."""
    wrong = [
        f"{name} is {shapes.get(name, 'missing')}, not {shape}"
        for name, shape in wanted.items()
        if shapes.get(name) != shape
    ]
    wrong += [f"{name} is not part of the model" for name in shapes if name not in wanted]
    if wrong:
        raise ValueError(
            f"{path} does not fit {source}: {wrong[0]}" + (f", and {len(wrong) - 1} more" if wrong[1:] else "")
        )
