"""Sweeps: options given several values, and the rows of a table that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from itertools import product
from typing import Any, get_type_hints

from hainan_k2.search import SearchConfig
from hainan_k2.search.options import options_of


@dataclass(frozen=True)
class Row:
    """A method with one value of every option. `label` names the swept ones: viterbi-lm lm_scale=0.3."""

    label: str
    method: str
    options: SearchConfig


def grid(cls: type) -> type:
    """The options of `cls`, where a number may be several, with commas between."""
    hints = get_type_hints(cls)

    def several(f: Any) -> tuple[str, Any, Any]:
        if hints[f.name] not in (int, float):
            return f.name, hints[f.name], field(default=f.default, metadata=f.metadata)
        return f.name, tuple[hints[f.name], ...], field(default=(f.default,), metadata=f.metadata)

    return make_dataclass(cls.__name__, [several(f) for f in fields(cls)], frozen=True)


SearchGrid = grid(SearchConfig)


def make_rows(methods: Sequence[str], chosen: Any = None) -> list[Row]:
    """A row for every method and every combination of the values of options that it takes.

    Args:
      chosen: a SearchGrid; None takes every option's default.
    Raises:
      ValueError: for an option without a value, with several that none of the methods takes, or a bad value.
    """
    chosen = chosen or SearchGrid()
    values = {f.name: getattr(chosen, f.name) for f in fields(chosen)}
    values = {name: tuple(dict.fromkeys(v)) if isinstance(v, tuple) else (v,) for name, v in values.items()}
    for name, given in values.items():
        flag = "--" + name.replace("_", "-")
        if not given:
            raise ValueError(f"{flag} has no value")
        if len(given) > 1 and not any(name in options_of(method) for method in methods):
            raise ValueError(f"{flag} has {len(given)} values, but {', '.join(methods)} take no {name}")
    rows = []
    for method in dict.fromkeys(methods):
        swept = [name for name in options_of(method) if len(values[name]) > 1]
        for point in product(*(values[name] for name in swept)):
            options = SearchConfig(**{**{name: v[0] for name, v in values.items()}, **dict(zip(swept, point))})
            label = " ".join([method, *(f"{name}={value:g}" for name, value in zip(swept, point))])
            rows.append(Row(label, method, options))
    return rows
