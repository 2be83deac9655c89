"""A model from a configuration and weights, which are checked against it: either may come from anywhere."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from hainan_k2.config import ModelConfig
from hainan_k2.frames import subsampled_length
from hainan_k2.model.hainan import Hainan

TRAINING_HEADS = ("simple_am", "simple_lm")  # the additive joint of the pruned loss


def without_training_heads(model: Hainan) -> Hainan:
    """The same model object, with its TRAINING_HEADS removed."""
    for name in TRAINING_HEADS:
        setattr(model, name, None)
    return model


def model_of_weights(
    config: ModelConfig, weights: dict[str, Tensor], path: Path, source: str, training_heads: bool
) -> Hainan:
    """A model with exactly these weights, on the CPU.

    Args:
      path: the file of the weights, for error messages.
      source: the origin of `config`, for error messages.
      training_heads: whether the model has TRAINING_HEADS.
    Raises:
      ValueError: in one line that names the file, where names, shapes or types are not those of the configuration.
    """
    # Compared before the model is made, since a configuration can state sizes that do not fit into memory.
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    compare_shapes(key_shapes(config), shapes, path, source, complete=False)
    try:
        model = Hainan(config) if training_heads else without_training_heads(Hainan(config))
    except ValueError as error:
        raise ValueError(f"{path} does not fit {source}: {' '.join(str(error).split())}") from None
    state = model.state_dict()
    compare_shapes({name: tuple(value.shape) for name, value in state.items()}, shapes, path, source, complete=True)
    wrong = [name for name, value in state.items() if value.dtype != weights[name].dtype]
    if wrong:
        raise ValueError(f"{path}: {wrong[0]} is of type {weights[wrong[0]].dtype}, not {state[wrong[0]].dtype}")
    model.load_state_dict(weights)
    return model


def compare_shapes(
    wanted: dict[str, tuple[int, ...]], shapes: dict[str, tuple[int, ...]], path: Path, source: str, complete: bool
) -> None:
    """Raises ValueError unless `shapes` has all the wanted ones and, if `complete`, no others."""
    wrong = [
        f"{name} is {shapes.get(name, 'missing')}, not {shape}"
        for name, shape in wanted.items()
        if shapes.get(name) != shape
    ]
    wrong += [f"{name} is not part of the model" for name in shapes if complete and name not in wanted]
    if wrong:
        raise ValueError(
            f"{path} does not fit {source}: {wrong[0]}" + (f", and {len(wrong) - 1} more" if wrong[1:] else "")
        )


def key_shapes(c: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a few weights: every dimension of the model occurs, and the last of every kind of layer."""
    outputs, pre = c.vocab_size + len(c.durations), "encoder.pre_encode."
    shapes: dict[str, tuple[int, ...]] = {
        "joiner.enc.weight": (c.joiner_dim, c.d_model),
        "joiner.pred.weight": (c.joiner_dim, c.predictor_dim),
        "joiner.out.weight": (outputs, c.joiner_dim),
        "predictor.embed.weight": (c.vocab_size, c.predictor_dim),
    }
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
