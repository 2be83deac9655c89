"""Sweeps: options with several values, and the rows of results that they make."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from itertools import product
from typing import Any, Optional, get_type_hints

from hainan_k2.confidence import Calibration
from hainan_k2.result import Hypothesis
from hainan_k2.search.methods import METHODS
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.settings import Setting, setting_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """A method with one value of every option. `label` names the swept ones: viterbi-lm lm_scale=0.3. With a
    `calibration` the confidences of words are probabilities."""

    label: str
    method: str
    options: SearchConfig
    calibration: Optional[Calibration] = None

    def finished(self, hypothesis: Hypothesis, pieces: Sequence[str], seconds: float) -> Hypothesis:
        """A hypothesis of this search as users get it: with words, their confidences calibrated.

        Args:
          pieces: the tokenizer's pieces; seconds: length of the audio.
        """
        written = hypothesis.with_words(pieces, audio_seconds=seconds)
        return written if self.calibration is None else self.calibration.applied(written)


class Default(tuple[Any, ...]):
    """The values of an option that was not given."""


class DefaultText(str):
    """The value of an option of choices that was not given."""


def grid(cls: Any) -> Any:
    """The options of a dataclass, in which a number may have several values, with commas between."""
    hints: dict[str, Any] = get_type_hints(cls)

    def several(f: Any) -> tuple[str, Any, Any]:
        kind = hints[f.name]
        if kind not in (int, float):
            default = DefaultText(f.default) if kind is str else f.default
            return f.name, kind, field(default=default, metadata=f.metadata)
        several_values = tuple[kind, ...]  # type: ignore[valid-type]
        return f.name, several_values, field(default=Default((f.default,)), metadata=f.metadata)

    namespace = {"help_title": cls.help_title, "help_page": staticmethod(_help_page)}
    return make_dataclass(cls.__name__, [several(f) for f in fields(cls)], frozen=True, namespace=namespace)


def _help_page(argv: Sequence[str], prog: str, example: str) -> Any:
    """What --help shows of a command that takes these options (hainan_k2.cli)."""
    from hainan_k2.search.help import help_page  # here: only --help needs it

    return help_page(argv, prog, example)


SearchGrid = grid(SearchConfig)


def make_rows(
    methods: Sequence[str], chosen: Any = None, settings: Sequence[Setting] = (), given: Sequence[str] = ()
) -> list[Row]:
    """A row for every method and every combination of the values of the options that it takes.

    An option that was not given has the value that is stored with the model, or else the method's own default. A
    message names what is stored, a warning each option that was given and that none of the methods takes.

    >>> [row.label for row in make_rows(["viterbi-lm", "sar"], SearchGrid(lm_scale=(0.1, 0.2)))]
    ['viterbi-lm lm_scale=0.1', 'viterbi-lm lm_scale=0.2', 'sar']

    Args:
      chosen: a SearchGrid; None takes every option's default.
      settings: stored with the model. Where an option was not given, they come before its default.
      given: the decoding resources that were given, which decide which settings hold.
    Raises:
      ValueError: for an option without a value, with several that none of the methods takes, or a bad value.
    """
    chosen = chosen or SearchGrid()
    values = {f.name: _values(chosen, f) for f in fields(chosen)}
    taken = {option for method in methods for option in METHODS[method].options}
    for name, several in values.items():
        flag = "--" + name.replace("_", "-")
        if not several:
            raise ValueError(f"{flag} has no value")
        if name in taken:
            continue
        if len(several) > 1:
            raise ValueError(f"{flag} has {len(several)} values, but {', '.join(methods)} take no {name}")
        if _given(chosen, name):
            logger.warning("%s is not used by %s", flag, ", ".join(methods))
    rows = []
    for method in dict.fromkeys(methods):
        swept = [name for name in values if name in METHODS[method].options and len(values[name]) > 1]
        same = {name: v[0] for name, v in values.items()}
        same.update({name: v for name, v in METHODS[method].defaults.items() if not _given(chosen, name)})
        stored = setting_of(method, given, settings)
        kept = stored.options if stored else {}
        taken_over = {name: value for name, value in kept.items() if not _given(chosen, name)}
        if taken_over:
            shown = ", ".join(f"{name} {value}" for name, value in taken_over.items())
            logger.info("%s: %s, as stored with the model; options that you give override them", method, shown)
        for point in product(*(values[name] for name in swept)):
            options = SearchConfig(**{**same, **taken_over, **dict(zip(swept, point))})
            label = " ".join([method, *(f"{name}={value:g}" for name, value in zip(swept, point))])
            rows.append(Row(label, method, options, stored.calibration if stored else None))
    return rows


def _values(chosen: Any, f: Any) -> tuple[Any, ...]:
    """The distinct values of an option, in order."""
    value = getattr(chosen, f.name)
    return tuple(dict.fromkeys(value)) if isinstance(value, tuple) else (value,)


def _given(chosen: Any, name: str) -> bool:
    """Whether an option was given; one that is true or false counts as given if it is not the default."""
    value = getattr(chosen, name)
    if isinstance(value, bool):
        return bool(value != SearchConfig.__dataclass_fields__[name].default)
    return not isinstance(value, (Default, DefaultText))
