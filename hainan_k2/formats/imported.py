"""A model of another program, checked and written as a model directory."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from hainan_k2.config import ModelConfig
from hainan_k2.files.atomic import PARTIAL
from hainan_k2.files.tensors import Stored
from hainan_k2.formats.model_dir import write_weights
from hainan_k2.formats.precision import is_finite
from hainan_k2.formats.weights import compare_shapes, empty_model
from hainan_k2.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Imported:
    """A model of another program.

    Attributes:
      source: the file that it comes from.
      config: its dimensions.
      weights: by our names, float32; they can be read as long as the file is open.
      tokenizer: its pieces, with blank added as id 0.
      provenance: where it comes from and what of its file has no influence here.
    """

    source: Path
    config: ModelConfig
    weights: Mapping[str, Stored]
    tokenizer: Tokenizer
    provenance: dict[str, Any]

    def check(self) -> None:
        """Raises ValueError unless the weights are exactly those of the configuration, and the tokenizer has a piece
        for each token."""
        if self.tokenizer.vocab_size != self.config.vocab_size:
            raise ValueError(
                f"{self.source}: the tokenizer has {self.tokenizer.vocab_size - 1} pieces, "
                f"the model {self.config.vocab_size - 1} tokens besides blank"
            )
        try:
            state = empty_model(self.config, training_heads=False).state_dict()
        except ValueError as error:
            raise ValueError(f"{self.source}: {error}") from None
        wanted = {name: tuple(value.shape) for name, value in state.items()}
        shapes = {name: tuple(value.shape) for name, value in self.weights.items()}
        compare_shapes(wanted, shapes, self.source, "its configuration")
        wrong = [name for name, value in state.items() if self.weights[name].dtype != value.dtype]
        if wrong:
            raise ValueError(f"{self.source}: {wrong[0]} is of type {self.weights[wrong[0]].dtype}")

    def write(self, out: Path, precision: str) -> None:
        """Write the model directory `out`, completely or not at all. `check` it before.

        Raises:
          ValueError: where a weight cannot be read, is not finite or cannot be stored in this precision, and where
            `out` exists already.
          OSError: where the folder cannot be written.
        """
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            raise ValueError(f"{out} exists already: give --out the name of a new folder")
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.parent / f".{secrets.token_hex(8)}{PARTIAL}"
        try:
            weights = {name: self._finite(name, value) for name, value in self.weights.items()}
            write_weights(partial, self.config, weights, self.tokenizer, precision, self.provenance)
            partial.rename(out)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    def _finite(self, name: str, value: Stored) -> Stored:
        """The same weight, checked when it is read."""

        def check(tensor: Tensor) -> Tensor:
            if not is_finite(tensor):
                raise ValueError(f"{self.source}: {name} holds numbers that are not finite")
            return tensor

        return value.map(check, value.shape, value.dtype)
