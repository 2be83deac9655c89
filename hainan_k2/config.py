"""Every option is defined once, as a field of a frozen dataclass; command-line flags and YAML keys are made from it.

A field `max_duration: float = option(200.0, "seconds of audio per batch")` of a dataclass given to `parse` is the flag
`--max-duration 200` and the key `max_duration:` of a `--config FILE`. Flags override the file, the file the defaults.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Optional, get_args, get_type_hints

BLANK = 0


def option(default: Any, help: str, choices: Optional[Sequence[str]] = None, positional: bool = False) -> Any:
    """A dataclass field with the words that --help prints; a default of MISSING makes the flag required. A positional
    one, a tuple, has no flag: it takes the words that stand by themselves."""
    return field(default=default, metadata={"help": help, "choices": choices, "positional": positional})


@dataclass(frozen=True)
class ModelConfig:
    """Dimensions of a HAINAN model. A preset gives the encoder its published size; every field can be set by itself."""

    vocab_size: int = option(0, "V, blank included; training takes it from the tokenizer")
    durations: tuple[int, ...] = option(tuple(range(9)), "durations in encoder frames, ascending, e.g. 0,1,2,4,8")
    encoder: str = option("fastconformer", "kind of encoder; whisper: Whisper's below num_layers FastConformer layers",
                          ("fastconformer", "whisper"))
    num_mel_bins: int = option(80, "mel bins of the features")
    d_model: int = option(256, "encoder channels C")
    num_layers: int = option(16, "FastConformer layers")
    num_heads: int = option(4, "attention heads")
    ffn_factor: int = option(4, "feed-forward width over d_model")
    conv_kernel: int = option(9, "kernel of the convolution module, in encoder frames")
    subsampling_channels: int = option(256, "channels of the three subsampling convolutions")
    whisper_dim: int = option(384, "Whisper encoder: channels")
    whisper_layers: int = option(4, "Whisper encoder: layers")
    whisper_heads: int = option(6, "Whisper encoder: attention heads")
    xscaling: bool = option(False, "multiply the subsampled frames by sqrt(d_model)")
    bias: bool = option(True, "biases in the encoder's linear and convolution layers")
    norm_out: bool = option(True, "a layer norm at the end of every FastConformer layer, as published; small models "
                                  "trained from scratch on little speech learn sooner without")
    dropout: float = option(0.1, "dropout in the encoder")
    predictor: str = option("lstm", "kind of predictor", ("lstm", "stateless"))
    predictor_dim: int = option(640, "predictor channels H")
    predictor_layers: int = option(1, "LSTM layers")
    predictor_context: int = option(2, "labels that a stateless predictor sees")
    predictor_dropout: float = option(0.1, "dropout in the predictor")
    joiner_dim: int = option(640, "joint channels J")
    joiner_dropout: float = option(0.1, "dropout in the joint network")
    ctc: bool = option(True, "an auxiliary CTC head on the encoder")

    def __post_init__(self):
        durations = tuple(self.durations)
        if list(durations) != sorted(set(durations)) or not durations or durations[0] < 0 or durations[-1] < 1:
            raise ValueError(f"durations {durations} must be distinct, ascending and >= 0, with at least one above 0")
        if self.encoder not in ("fastconformer", "whisper"):
            raise ValueError(f"encoder {self.encoder!r} is neither 'fastconformer' nor 'whisper'")
        if self.predictor not in ("lstm", "stateless"):
            raise ValueError(f"predictor {self.predictor!r} is neither 'lstm' nor 'stateless'")
        for name, value in vars(self).items():
            least = 0 if name in ("vocab_size", "num_layers") else 1
            if type(value) is int and value < least:
                raise ValueError(f"{name} is {value}: it must be at least {least}")
        object.__setattr__(self, "durations", durations)

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> ModelConfig:
        """The preset's dimensions with `overrides` on top; ValueError names the presets there are."""
        if name not in PRESETS:
            raise ValueError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
        return cls(**{**PRESETS[name], **overrides})


# S, M, L, XL: the published FastConformer transducer sizes (14, 32, 114, 600 M). XS learns small tasks on a CPU; tiny
# is for tests. whisper-tiny: the encoder of Whisper tiny and tiny.en, 4 FastConformer layers on it.
PRESETS: dict[str, dict[str, Any]] = {
    "tiny": dict(d_model=64, num_layers=2, num_heads=4, subsampling_channels=16, predictor_dim=32, joiner_dim=32),
    "XS": dict(d_model=144, num_layers=6, num_heads=4, subsampling_channels=48, predictor_dim=144, joiner_dim=144),
    "whisper-tiny": dict(encoder="whisper", d_model=256, num_layers=4, num_heads=4, predictor_dim=256, joiner_dim=320),
    "S": dict(d_model=176, num_layers=16, num_heads=4, subsampling_channels=176, predictor_dim=320, joiner_dim=320),
    "M": dict(d_model=256, num_layers=16, num_heads=4),
    "L": dict(d_model=512, num_layers=17, num_heads=8),
    "XL": dict(d_model=1024, num_layers=24, num_heads=8, predictor_layers=2),
}


def as_dict(config: Any) -> dict[str, Any]:
    """Plain values only, so that checkpoints load without executing anything."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(config).items()}


def from_dict(cls: type, values: dict[str, Any]) -> Any:
    """The dataclass of a plain dict; ValueError on names that it does not have."""
    unknown = sorted(set(values) - {f.name for f in fields(cls)})
    if unknown:
        raise ValueError(f"{cls.__name__} has no option {', '.join(unknown)}")
    missing = [f.name for f in fields(cls) if f.default is MISSING and f.name not in values]
    if missing:
        raise ValueError("required: " + ", ".join("--" + name.replace("_", "-") for name in missing))
    hints = get_type_hints(cls)
    return cls(**{k: convert(k, v, hints[k]) for k, v in values.items()})


def convert(name: str, value: Any, hint: Any) -> Any:
    """A flag's text or a YAML value as the type that the field declares."""
    inner = [a for a in get_args(hint) if a is not type(None)]
    if type(None) in get_args(hint):
        return None if value is None or value == "none" else convert(name, value, inner[0])
    if get_args(hint):  # tuple[int, ...] and the like
        parts = [p for p in value.replace(" ", "").split(",") if p] if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)):
            raise ValueError(f"{name} is {value!r}, not a list")
        return tuple(convert(name, p, inner[0]) for p in parts)
    if hint is bool:
        known = {"true": True, "false": False}
        if str(value).lower() not in known:
            raise ValueError(f"{name} is {value!r}: say true or false")
        return known[str(value).lower()]
    try:
        number = hint(value)  # str, int or float
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} is {value!r}, not of type {hint.__name__}") from None
    if hint is int and not isinstance(value, str) and number != value:
        raise ValueError(f"{name} is {value!r}, not a whole number")
    return number


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # argparse would print the whole usage before it
        fail(message)


def parse(argv: Optional[Sequence[str]], description: str, *classes: type, **optional: type) -> list[Any]:
    """Instances of `classes` (and of `optional` ones) from flags and --config.

    A class given by keyword comes back as a dict of the values that were set, instead of an instance: what is not set
    is somebody else's to choose (a preset's). Errors end the program with one line and exit code 2.
    """
    every = [*classes, *optional.values()]
    parser = _Parser(description=description, allow_abbrev=False)
    parser.add_argument("--config", metavar="FILE", help="YAML file with options, underscores for dashes")
    for cls in every:
        group = parser.add_argument_group(cls.__name__)
        for f in fields(cls):
            if f.metadata.get("positional"):
                group.add_argument(f.name, nargs="*", default=argparse.SUPPRESS, help=f.metadata["help"])
                continue
            group.add_argument("--" + f.name.replace("_", "-"), dest=f.name, default=argparse.SUPPRESS,
                               metavar=f.name.upper(), help=_help(f))
    flags = vars(parser.parse_intermixed_args(argv))
    path = flags.pop("config", None)
    try:
        values = {**(read_yaml(path) if path else {}), **flags}
        known = {f.name for cls in every for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"{path}: unknown option {', '.join(unknown)}")
        chosen = [{k: values[k] for k in values if k in {f.name for f in fields(cls)}} for cls in every]
        made = [from_dict(cls, v) for cls, v in zip(classes, chosen)]
        hints = [get_type_hints(cls) for cls in optional.values()]
        return made + [{k: convert(k, v, h[k]) for k, v in values.items()}
                       for values, h in zip(chosen[len(classes):], hints)]
    except (ValueError, OSError) as error:
        fail(str(error))


def _help(f: dataclasses.Field) -> str:
    default = "required" if f.default is MISSING else f.default
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    choices = f.metadata.get("choices")
    words = f.metadata.get("help", "") + (f", one of {' '.join(choices)}" if choices else "")
    return f"{words} (default: {str(default).lower() if isinstance(default, bool) else default})".replace("%", "%%")


def read_yaml(path: str) -> dict[str, Any]:
    """A flat YAML mapping; ValueError names the file and line of what is wrong."""
    import yaml

    with open(path, encoding="utf-8") as stream:
        try:
            values = yaml.safe_load(stream) or {}
        except yaml.YAMLError as error:
            raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: should hold lines like 'max_duration: 200'")
    return values


def fail(message: str) -> None:
    """One line to stderr and exit code 2: how every command refuses bad input."""
    print(f"{sys.argv[0].rsplit('/', 1)[-1]}: error: {message}", file=sys.stderr)
    raise SystemExit(2)


