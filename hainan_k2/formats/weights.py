"""A model out of a configuration and weights that may not fit it, or may be anybody's."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from hainan_k2.config import ModelConfig
from hainan_k2.frames import subsampled_length
from hainan_k2.model.hainan import Hainan

TRAINING_HEADS = ("simple_am", "simple_lm")  # the additive joint of the pruned loss


def without_training_heads(model: Hainan) -> Hainan:
    """The same model, its TRAINING_HEADS gone."""
    for name in TRAINING_HEADS:
        setattr(model, name, None)
    return model


def model_of_weights(
    config: ModelConfig, weights: dict[str, Tensor], path: Path, source: str, training_heads: bool
) -> Hainan:
    """A model with exactly these weights, on the CPU.

    Args: path, the file that the weights are from; source, what the dimensions are from, as messages call it.
    Raises ValueError: one line with the file, where names, shapes or types differ from those of the dimensions.
    """
    # Compared before the model is made: what the config says may be larger than any memory.
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    _compare(key_shapes(config), shapes, path, source, complete=False)
    try:
        model = Hainan(config) if training_heads else without_training_heads(Hainan(config))
    except ValueError as error:
        raise ValueError(f"{path} does not fit {source}: {' '.join(str(error).split())}") from None
    state = model.state_dict()
    _compare({name: tuple(value.shape) for name, value in state.items()}, shapes, path, source, complete=True)
    wrong = [name for name, value in state.items() if value.dtype != weights[name].dtype]
    if wrong:
        raise ValueError(f"{path}: {wrong[0]} is of type {weights[wrong[0]].dtype}, not {state[wrong[0]].dtype}")
    model.load_state_dict(weights)
    return model


def _compare(wanted: dict[str, tuple], found: dict[str, tuple], path: Path, source: str, complete: bool) -> None:
    wrong = [
        f"{name} is {found.get(name, 'missing')}, not {shape}"
        for name, shape in wanted.items()
        if found.get(name) != shape
    ]
    wrong += [f"{name} has no place" for name in found if complete and name not in wanted]
    if wrong:
        raise ValueError(
            f"{path} does not fit {source}: {wrong[0]}" + (f", and {len(wrong) - 1} more" if wrong[1:] else "")
        )


def key_shapes(c: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of weights in which every dimension of the model occurs, the last of every kind of layer."""
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
