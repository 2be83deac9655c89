"""Options of another program's configuration file: read with their types, refused by name if they are not supported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Optional

from hainan_k2.config import shown

_REFERENCE = re.compile(r"\$\{(?:model\.)?([\w.]+)\}")  # of OmegaConf, e.g. ${model_defaults.joint_hidden}


class Section:
    """A mapping of a configuration file.

    Args:
      values: the mapping.
      name: what it is called in error messages, e.g. "model_config.yaml: encoder".
      root: the whole file, which references such as ${model_defaults.joint_hidden} point into; None for `values`.
    """

    def __init__(self, values: Mapping[Any, Any], name: str, root: Optional[Mapping[Any, Any]] = None) -> None:
        self.values, self.name, self.root = values, name, values if root is None else root

    def section(self, name: str) -> Section:
        """A mapping within this one; an empty one where it is missing."""
        values = self.get(name)
        if values is None:
            values = {}
        if not isinstance(values, Mapping):
            raise ValueError(f"{self.name}: {name} is {shown(values)}, not a mapping")
        return Section(values, f"{self.name}: {name}" if self.root is self.values else f"{self.name}.{name}", self.root)

    def get(self, name: str, default: Any = None) -> Any:
        """The value, with references resolved; `default` where it is missing."""
        value = self.values.get(name, default)
        for _ in range(10):
            match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
            if match is None:
                break
            value = self.root
            for key in match.group(1).split("."):
                value = value.get(key) if isinstance(value, Mapping) else None
        return value

    def number(self, name: str, default: Optional[int] = None) -> int:
        """A whole number; ValueError where it is none, or missing without default."""
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{self.name}: {name} is {shown(value)}, not a whole number")
        return value

    def numbers(self, name: str) -> Optional[tuple[int, ...]]:
        """A list of whole numbers; None where it is missing or null."""
        value = self.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or any(isinstance(x, bool) or not isinstance(x, int) for x in value):
            raise ValueError(f"{self.name}: {name} is {shown(value)}, not a list of whole numbers")
        return tuple(value)

    def flag(self, name: str, default: bool) -> bool:
        """true or false."""
        value = self.get(name, default)
        if not isinstance(value, bool):
            raise ValueError(f"{self.name}: {name} is {shown(value)}, neither true nor false")
        return value

    def share(self, name: str, default: float) -> float:
        """A dropout or another probability, in [0, 1)."""
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
            raise ValueError(f"{self.name}: {name} is {shown(value)}, not in [0, 1)")
        return float(value)

    def require(self, name: str, default: Any, *supported: Any) -> Any:
        """The value, which must be one of `supported`; ValueError names it otherwise."""
        value = self.get(name, default)
        if not any(type(value) is type(choice) and value == choice for choice in supported):
            wanted = " or ".join(str(choice) if choice is not None else "null" for choice in supported)
            raise ValueError(f"{self.name}: {name} {shown(value)} is not supported: it must be {wanted}")
        return value
