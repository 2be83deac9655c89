"""What a decoding method needs of a model, and which models have it.

predictor     the predictor and the joint: TDT and RNN-T models
encoder-only  a joint that is meaningful without the predictor: of TDT and RNN-T models whose predictor was masked in
              training
ctc           a CTC head: CTC models, hybrids, and models that were exported with theirs

A TDT model whose predictor was never masked has an encoder-only joint of no use: its methods run if they are asked for
by name. CTC models, and RNN-T whose predictor was never masked, have none.
"""

from __future__ import annotations

from collections.abc import Mapping

from hainan_k2.config import ModelConfig
from hainan_k2.search.method import Method

_LACKING = {
    "predictor": "a predictor",
    "encoder-only": "an encoder-only joint",
    "ctc": "a CTC head",
}
_KINDS = {"tdt": "a TDT model", "rnnt": "an RNN-T", "ctc": "a CTC model"}


def why_unsuitable(method: Method, config: ModelConfig, methods: Mapping[str, Method], lattice: str = "nar") -> str:
    """Why a model of this configuration cannot be decoded with the method; empty where it can.

    Args:
      methods: all methods, of which the suitable ones are named.
      lattice: of n-best lists, as in SearchConfig.
    """
    lacking = [part for part in parts_of(method, lattice) if part not in _parts(config)]
    if not lacking:
        return ""
    return (
        f"method {method.name} needs {_LACKING[lacking[0]]}, and this is {_KINDS[config.objective]} without one: "
        f"it is decoded by {', '.join(suitable(methods, config))}"
    )


def suitable(methods: Mapping[str, Method], config: ModelConfig) -> list[str]:
    """The names of the methods that such a model has all trained parts for."""
    parts = _parts(config)
    return [name for name, method in methods.items() if set(method.parts) <= parts and not untrained(method, config)]


def parts_of(method: Method, lattice: str) -> tuple[str, ...]:
    """What the method needs of a model. N-best lists of the encoder-only lattice need the predictor instead if they are
    made of the AR lattice."""
    listed = "lattice" in method.options and method.parts == ("encoder-only",)
    return ("predictor",) if lattice == "ar" and listed else method.parts


def untrained(method: Method, config: ModelConfig, lattice: str = "nar") -> bool:
    """Whether the method needs the encoder-only joint of a model that was trained without masking its predictor."""
    needed = "encoder-only" in parts_of(method, lattice)
    return needed and config.objective == "tdt" and not config.predictor_masking


def _parts(config: ModelConfig) -> set[str]:
    parts = set() if config.objective == "ctc" else {"predictor"}
    if config.objective == "tdt" or config.objective == "rnnt" and config.predictor_masking:
        parts.add("encoder-only")
    return parts | ({"ctc"} if config.ctc else set())
