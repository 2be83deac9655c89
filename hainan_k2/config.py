"""Options: each is defined once, as a field of a frozen dataclass.

The field `max_duration: float = option(200.0, "seconds of audio per batch", above=0)` of a dataclass given to
`hainan_k2.cli.parse` is also the flag `--max-duration 200` and the key `max_duration:` of the YAML file in `--config`.
Its type, choices and bounds are checked in flags, YAML files and the config.json of a model directory.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Optional, get_args, get_type_hints

BLANK = 0
MAX_WIDTH = 65536  # channels; a larger number is a typing error or comes from a damaged file


def option(
    default: Any,
    help: str,
    choices: Optional[Sequence[str]] = None,
    *,
    positional: bool = False,
    at_least: Optional[float] = None,
    above: Optional[float] = None,
    at_most: Optional[float] = None,
    below: Optional[float] = None,
    infinite: bool = False,
) -> Any:
    """A dataclass field that is an option.

    Args:
      default: its default; MISSING makes the option required.
      help: its description in --help.
      choices: the values allowed. Choices and bounds apply to each element of a tuple.
      positional: has no flag and takes the positional arguments; its type must be a tuple.
      at_least, above, at_most, below: bounds of a number.
      infinite: allows a float to be infinite.
    """
    bounds = {"at least": at_least, "above": above, "at most": at_most, "below": below}
    return field(
        default=default,
        metadata={
            "help": help,
            "choices": choices,
            "positional": positional,
            "infinite": infinite,
            "bounds": {k: v for k, v in bounds.items() if v is not None},
        },
    )


@dataclass(frozen=True)
class ModelConfig:
    """Dimensions of a HAINAN model. A preset sets them to a published size, and each can be changed on its own."""

    help_title = "model options"

    objective: str = option(
        "tdt",
        "what the outputs are: tokens and durations (TDT, HAINAN); tokens alone (RNN-T); a CTC head alone",
        ("tdt", "rnnt", "ctc"),
    )
    predictor_masking: bool = option(
        True, "the predictor was masked in training, so that the encoder-only joint is trained; training sets it"
    )
    vocab_size: int = option(
        0, "tokens V, blank included; training takes it from the tokenizer", at_least=0, at_most=10**6
    )
    durations: tuple[int, ...] = option(
        tuple(range(9)), "durations in encoder frames, ascending, e.g. 0,1,2,4,8", at_least=0, at_most=1000
    )
    encoder: str = option(
        "fastconformer",
        "type of encoder; whisper: a Whisper encoder with num_layers FastConformer layers on top",
        ("fastconformer", "whisper"),
    )
    features: str = option(
        "auto",
        "features that the encoder takes: fbank, Kaldi's filter banks; log-mel, Whisper's; nemo, NeMo's; sherpa-onnx, "
        "what sherpa-onnx computes in place of NeMo's; auto: fbank, or log-mel for a Whisper encoder",
        ("auto", "fbank", "log-mel", "nemo", "sherpa-onnx"),
    )
    num_mel_bins: int = option(80, "mel bins of the features", at_least=1, at_most=MAX_WIDTH)
    nemo_window: str = option("hann", "NeMo's features: window of the Fourier transform", ("hann", "hamming"))
    nemo_preemphasis: float = option(0.97, "NeMo's features: pre-emphasis", at_least=0, below=1)
    nemo_normalise: bool = option(True, "NeMo's features: normalise every mel bin per utterance")
    d_model: int = option(256, "encoder channels C", at_least=1, at_most=MAX_WIDTH)
    num_layers: int = option(16, "FastConformer layers", at_least=0, at_most=1000)
    num_heads: int = option(4, "attention heads", at_least=1, at_most=MAX_WIDTH)
    ffn_factor: int = option(4, "feed-forward width as a multiple of d_model", at_least=1, at_most=1000)
    attention_context: tuple[int, ...] = option(
        (-1, -1),
        "encoder frames on the left and on the right that a frame attends to, -1: all; memory is linear in the length "
        "where both are limited",
        at_least=-1,
        at_most=10**6,
    )
    conv_kernel: int = option(9, "kernel of the convolution module, in encoder frames", at_least=1, at_most=9999)
    subsampling_channels: int = option(
        256, "channels of the three subsampling convolutions", at_least=1, at_most=MAX_WIDTH
    )
    whisper_dim: int = option(384, "Whisper encoder: channels", at_least=4, at_most=MAX_WIDTH)
    whisper_layers: int = option(4, "Whisper encoder: layers", at_least=1, at_most=1000)
    whisper_heads: int = option(6, "Whisper encoder: attention heads", at_least=1, at_most=MAX_WIDTH)
    xscaling: bool = option(False, "multiply the subsampled frames by sqrt(d_model)")
    bias: bool = option(True, "biases in the encoder's linear and convolution layers")
    norm_out: bool = option(
        True,
        "a layer norm at the end of every FastConformer layer, as published; small models "
        "trained from scratch on little speech converge faster without",
    )
    dropout: float = option(0.1, "dropout in the encoder", at_least=0, below=1)
    predictor: str = option(
        "lstm",
        "type of predictor; concat: embeddings of the previous labels side by side, one table for each position",
        ("lstm", "stateless", "concat"),
    )
    predictor_norm: bool = option(False, "concat: normalise each output to mean 0 and variance 1")
    predictor_dim: int = option(640, "predictor channels H", at_least=1, at_most=MAX_WIDTH)
    predictor_layers: int = option(1, "LSTM layers", at_least=1, at_most=100)
    predictor_context: int = option(
        2, "number of previous labels that a stateless or concat predictor takes", at_least=1, at_most=1000
    )
    predictor_dropout: float = option(0.1, "dropout in the predictor", at_least=0, below=1)
    joiner_dim: int = option(640, "joint channels J", at_least=1, at_most=MAX_WIDTH)
    joiner_activation: str = option("relu", "activation in the joint network", ("relu", "tanh", "sigmoid"))
    joiner_dropout: float = option(0.1, "dropout in the joint network", at_least=0, below=1)
    ctc: bool = option(True, "an auxiliary CTC head on the encoder")

    def __post_init__(self) -> None:
        durations = tuple(self.durations)
        if self.objective != "tdt" and durations != (0,):
            raise ValueError(f"durations {shown(durations)}: objective {self.objective} predicts none, durations is 0")
        distinct = list(durations) == sorted(set(durations)) and bool(durations)
        if self.objective == "tdt" and (not distinct or durations[-1] < 1):
            raise ValueError(f"durations {shown(durations)} must be distinct and ascending, with at least one above 0")
        object.__setattr__(self, "durations", durations)
        object.__setattr__(self, "attention_context", tuple(self.attention_context))
        check_options(self)
        if len(self.attention_context) != 2:
            raise ValueError(
                f"attention_context is {shown(self.attention_context)}: it needs two numbers, e.g. 128,128"
            )
        if self.objective == "ctc" and not self.ctc:
            raise ValueError("ctc is false: a model of objective ctc has nothing but its CTC head")
        taken = ("auto", "fbank", "nemo", "sherpa-onnx") if self.encoder == "fastconformer" else ("auto", "log-mel")
        if self.features not in taken:
            raise ValueError(f"features is {self.features}: a {self.encoder} encoder takes {', '.join(taken)}")
        for name in ("d_model", "whisper_dim"):
            if getattr(self, name) % 2:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be even, for positional encodings")

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> ModelConfig:
        """A preset with some of its dimensions overridden. Raises ValueError for an unknown preset.

        >>> ModelConfig.preset("XS", vocab_size=500).d_model
        144
        """
        if name not in PRESETS:
            raise ValueError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
        return cls(**{**PRESETS[name], **overrides})


# S, M, L, XL: published sizes of FastConformer transducers (14, 32, 114, 600 M parameters). XS: small tasks on a CPU.
# tiny: tests. whisper-tiny, whisper-base: the encoder of Whisper tiny or base with 4 FastConformer layers on top.
PRESETS: dict[str, dict[str, Any]] = {
    "tiny": dict(d_model=64, num_layers=2, num_heads=4, subsampling_channels=16, predictor_dim=32, joiner_dim=32),
    "XS": dict(d_model=144, num_layers=6, num_heads=4, subsampling_channels=48, predictor_dim=144, joiner_dim=144),
    "whisper-tiny": dict(encoder="whisper", d_model=256, num_layers=4, num_heads=4, predictor_dim=256, joiner_dim=320),
    "whisper-base": dict(
        encoder="whisper",
        whisper_dim=512,
        whisper_layers=6,
        whisper_heads=8,
        d_model=256,
        num_layers=4,
        num_heads=4,
        predictor_dim=256,
        joiner_dim=320,
    ),
    "S": dict(d_model=176, num_layers=16, num_heads=4, subsampling_channels=176, predictor_dim=320, joiner_dim=320),
    "M": dict(d_model=256, num_layers=16, num_heads=4),
    "L": dict(d_model=512, num_layers=17, num_heads=8),
    "XL": dict(d_model=1024, num_layers=24, num_heads=8, predictor_layers=2),
}


def as_dict(config: Any) -> dict[str, Any]:
    """The options as plain values, tuples as lists, for JSON."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(config).items()}


def from_dict(cls: type, values: dict[str, Any]) -> Any:
    """An instance of the dataclass `cls` from flags, YAML or JSON.

    Raises:
      ValueError: for unknown names, missing required options, and values of another type or outside their choices and
        bounds.
    """
    unknown = sorted({str(name) for name in values} - {f.name for f in fields(cls)})
    if unknown:
        raise ValueError(f"{cls.__name__} has no option {', '.join(unknown)}")
    missing = [f.name for f in fields(cls) if f.default is MISSING and f.name not in values]
    if missing:
        raise ValueError("required: " + ", ".join("--" + name.replace("_", "-") for name in missing))
    return cls(**checked(cls, values))


def checked(cls: type, values: dict[str, Any]) -> dict[str, Any]:
    """The values converted to the types of the fields of `cls`. Raises ValueError as `from_dict` does, except for
    missing options."""
    hints, by_name = get_type_hints(cls), {f.name: f for f in fields(cls)}
    converted = {name: convert(name, value, hints[name]) for name, value in values.items()}
    for name, value in converted.items():
        check(by_name[name], value)
    return converted


def check_options(config: Any) -> None:
    """Check choices and bounds of every field of a dataclass made in a program. Raises ValueError for the first that
    fails."""
    for f in fields(config):
        check(f, getattr(config, f.name))


_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "at least": lambda x, bound: x >= bound,
    "above": lambda x, bound: x > bound,
    "at most": lambda x, bound: x <= bound,
    "below": lambda x, bound: x < bound,
}


def check(f: dataclasses.Field[Any], value: Any) -> None:
    """Check a value, or each element of a tuple, against the choices and bounds of its field. Raises ValueError."""
    choices, bounds = f.metadata.get("choices"), f.metadata.get("bounds", {})
    for item in value if isinstance(value, tuple) else (value,):
        if isinstance(item, float) and not (math.isfinite(item) or item == math.inf and f.metadata.get("infinite")):
            raise ValueError(f"{f.name} is {item}: it must be a finite number")
        if item is not None and choices and item not in choices:
            raise ValueError(f"{f.name} is {shown(item)}: choose from {', '.join(choices)}")
        if item is not None and not all(_COMPARE[word](item, bound) for word, bound in bounds.items()):
            raise ValueError(f"{f.name} is {shown(item)}: it must be {bounds_in_words(bounds)}")


def bounds_in_words(bounds: dict[str, float]) -> str:
    """Bounds in words, e.g. "at least 0 and below 1"."""
    return " and ".join(f"{word} {bound}" for word, bound in bounds.items())


def shown(value: Any) -> str:
    """A value for an error message, shortened, since a damaged file may hold anything."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "a number of more than 30 digits"
    return text if len(text) <= 80 else text[:77] + "..."


def first_names(names: Sequence[str], count: int = 5) -> str:
    """The first `count` names for a message, and "..." if there are more."""
    return " ".join([*names[:count], *["..."] * (len(names) > count)])


def convert(name: str, value: Any, hint: Any) -> Any:
    """A value from a flag, YAML or JSON as the type `hint` of the field `name`. Raises ValueError where it has another
    type."""
    inner = [a for a in get_args(hint) if a is not type(None)]
    if type(None) in get_args(hint):
        return None if value is None or value == "none" else convert(name, value, inner[0])
    if get_args(hint):  # tuple[int, ...] and the like
        parts = [p for p in value.replace(" ", "").split(",") if p] if isinstance(value, str) else value
        if isinstance(parts, (int, float)):
            parts = [parts]
        if not isinstance(parts, (list, tuple)):
            raise ValueError(f"{name} is {shown(value)}, not a list")
        return tuple(convert(name, p, inner[0]) for p in parts)
    if hint is bool:
        known = {"true": True, "false": False}
        if str(value).lower() not in known:
            raise ValueError(f"{name} is {shown(value)}: choose true or false")
        return known[str(value).lower()]
    try:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise TypeError
        number = hint(value)  # str, int or float
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} is {shown(value)}, not of type {hint.__name__}") from None
    if hint is int and not isinstance(value, str) and number != value:
        raise ValueError(f"{name} is {shown(value)}, not a whole number")
    return number
