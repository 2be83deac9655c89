"""Method and Imported: what the rest of the package must know about a decoding method, and how it is called.

Importing this file loads neither torch nor k2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from hainan_k2.search.options import SearchConfig
    from hainan_k2.search.resources import DecodingResources


@dataclass(frozen=True)
class Method:
    """A decoding method, how to call it, and what the rest of the package must know about it.

    function(model, encoder_out (B, T, C), lens (B,), SearchConfig, DecodingResources) -> B Hypotheses.
    function.sweep, where `sweeps` is not empty, takes a list of SearchConfigs in place of one and returns a list of B
    Hypotheses for each; it costs hardly more than one search.
    stream(model, SearchConfig, DecodingResources) -> a hainan_k2.search.streaming.Stream.
    """

    name: str
    function: Callable[..., Any]
    needs_k2: bool
    description: str
    parts: tuple[str, ...] = ("encoder-only",)  # what it needs of a model (hainan_k2.search.suitability)
    options: tuple[str, ...] = ()  # the fields of SearchConfig that it takes
    defaults: Mapping[str, float] = field(default_factory=dict)  # of these options, where it has others
    needs: tuple[str, ...] = ()  # the fields of DecodingResources that it cannot do without
    uses: tuple[str, ...] = ()  # those that it takes if they are given
    sweeps: tuple[str, ...] = ()  # the options in which the SearchConfigs of a function.sweep may differ
    oracle: bool = False  # the caller picks the alternative nearest to the reference: a bound on what can be reached
    stream: Optional[Imported] = None  # how it decodes audio that has not ended yet, see below; None: it cannot
    compared: bool = False  # shown beside the chosen methods in reports without references
    limit: float = math.inf  # seconds of audio that are searched at once
    limited_by: tuple[str, ...] = ()  # the limit holds only with one of these resources; if empty, always
    segment_limit: Optional[float] = None  # seconds of the segments of a longer recording; None: `limit`

    def config(self, **given: Any) -> SearchConfig:
        """A SearchConfig of these options, and of this method's defaults for the others.

        >>> METHODS["graph"].config(lm_scale=0.5).skip_scale
        0.2
        """
        from hainan_k2.search.options import SearchConfig  # here: the table is read before options are

        return SearchConfig(**{**self.defaults, **given})

    def longest(self, options: SearchConfig, resources: DecodingResources) -> float:
        """Seconds of the longest recording that is searched at once with these options and resources; math.inf: any.

        Greedy search, beam search and the plain lattice take time and memory in proportion to the length. What is
        composed with a lattice makes them grow faster, so that longer recordings are cut into segments at pauses.
        """
        unlimited = self.limited_by and all(getattr(resources, name) is None for name in self.limited_by)
        return math.inf if unlimited else self.limit

    def segment(self, options: SearchConfig, resources: DecodingResources) -> float:
        """Seconds of a segment at most, where a recording is longer than `longest`.

        N-best methods take shorter segments: their list has the same number of texts for a segment of any length.
        """
        longest = self.longest(options, resources)
        return longest if self.segment_limit is None else min(longest, self.segment_limit)


@dataclass(frozen=True)
class Imported:
    """The object `name` of a module of this package, imported when it is called."""

    module: str
    name: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._object()(*args, **kwargs)

    @property
    def sweep(self) -> Callable[..., Any]:
        sweep: Callable[..., Any] = self._object().sweep
        return sweep

    def _object(self) -> Any:
        return getattr(import_module(f"hainan_k2.search.{self.module}"), self.name)
