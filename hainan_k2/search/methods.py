"""The decoding methods: METHODS is the one place where a method is added.

Everything that depends on the method is read from this table: --help, the README's table, sweeps, where long recordings
are cut, which methods decode streams and which a report compares. Importing it loads neither torch nor k2.

    >>> from hainan_k2.search import METHODS, SearchConfig
    >>> [name for name, method in METHODS.items() if method.streams]
    ['ar-greedy', 'nar-greedy']
    >>> search = METHODS["ar-greedy"].function  # search(model, encoder_out, lens, SearchConfig(max_symbols=5))
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
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
    """

    name: str
    function: Callable[..., Any]
    needs_k2: bool
    description: str
    options: tuple[str, ...] = ()  # the fields of SearchConfig that it takes
    needs: tuple[str, ...] = ()  # the fields of DecodingResources that it cannot do without
    uses: tuple[str, ...] = ()  # those that it takes if they are given
    sweeps: tuple[str, ...] = ()  # the options in which the SearchConfigs of a function.sweep may differ
    oracle: bool = False  # the caller picks the alternative nearest to the reference: a bound on what can be reached
    streams: bool = False  # can decode audio that has not ended yet (hainan_k2.search.streaming)
    compared: bool = False  # shown beside the chosen methods in reports without references
    limit: float = math.inf  # seconds of audio that are searched at once
    limited_by: tuple[str, ...] = ()  # the limit holds only with one of these resources; if empty, always
    segment_limit: Optional[float] = None  # seconds of the segments of a longer recording; None: `limit`

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


# Options that several methods take.
PATH_SCORES = ("duration_scale", "blank_penalty", "token_bonus")
LATTICE = (*PATH_SCORES, "top_k", "lattice_beam", "lattice_states", "hotword_scale")
NBEST_LIST = (*LATTICE, "num_paths")
ORDERING = ("lm_scale", "ar_weight", "nbest_scale", "nbest")  # how n-best lists are ordered, not what is on them

COMPOSED = 30.0  # seconds
LISTED = 10.0

_TABLE = (
    Method(
        "ar-greedy",
        Imported("greedy", "ar_greedy"),
        needs_k2=False,
        description="autoregressive greedy search by label-looping",
        options=("max_symbols", "hotword_scale"),
        uses=("hotwords",),
        streams=True,
        compared=True,
    ),
    Method(
        "ar-beam",
        Imported("beam", "ar_beam"),
        needs_k2=False,
        description="autoregressive beam search that adds up alignments",
        options=(
            "max_symbols",
            "blank_penalty",
            "token_bonus",
            "beam",
            "beam_durations",
            "nbest",
            "hotword_scale",
        ),
        uses=("hotwords",),
    ),
    Method(
        "nar-greedy",
        Imported("greedy", "nar_greedy"),
        needs_k2=False,
        description="greedy walk over the encoder-only joint",
        streams=True,
        compared=True,
    ),
    Method(
        "sar",
        Imported("refine", "sar"),
        needs_k2=False,
        description="nar-greedy, refined by the predictor in parallel",
        options=("sar_rounds", "hotword_scale"),
        uses=("hotwords",),
        compared=True,
    ),
    Method(
        "viterbi",
        Imported("viterbi", "viterbi"),
        needs_k2=True,
        description="best path of the encoder-only lattice",
        options=LATTICE,
        uses=("hotwords",),
        compared=True,
        limit=COMPOSED,
        limited_by=("hotwords",),
    ),
    Method(
        "viterbi-lm",
        Imported("viterbi_lm", "viterbi_lm"),
        needs_k2=True,
        description="best path of the lattice composed with an n-gram language model",
        options=(*LATTICE, "lm_scale", "lodr_scale"),
        needs=("lm",),
        uses=("lodr_lm", "hotwords"),
        limit=COMPOSED,
    ),
    Method(
        "sar-viterbi",
        Imported("refine", "sar_viterbi"),
        needs_k2=True,
        description="viterbi, refined by the predictor in parallel",
        options=(*LATTICE, "sar_rounds"),
        uses=("hotwords",),
        limit=COMPOSED,
        limited_by=("hotwords",),
    ),
    Method(
        "grammar",
        Imported("grammar", "grammar"),
        needs_k2=True,
        description="best path in a closed grammar, with its output side",
        options=(*PATH_SCORES, "grammar_threshold", "grammar_fallback"),
        needs=("grammar",),
        limit=COMPOSED,
    ),
    Method(
        "graph",
        Imported("graph", "graph"),
        needs_k2=True,
        description="best path through a word graph: lexicon and word-level language model",
        options=(
            *PATH_SCORES,
            "lm_scale",
            "search_beam",
            "output_beam",
            "min_active_states",
            "max_active_states",
        ),
        needs=("graph",),
        limit=COMPOSED,
    ),
    Method(
        "nbest",
        Imported("nbest", "nbest_total"),
        needs_k2=True,
        description="most probable text over all alignments in the lattice",
        options=(*NBEST_LIST, "nbest"),
        uses=("hotwords",),
        sweeps=ORDERING,
        limit=COMPOSED,
        segment_limit=LISTED,
    ),
    Method(
        "nbest-lm",
        Imported("nbest", "nbest_lm"),
        needs_k2=True,
        description="n-best list, rescored by a language model",
        options=(*NBEST_LIST, "nbest", "lm_scale"),
        needs=("lm",),
        uses=("hotwords",),
        sweeps=ORDERING,
        limit=COMPOSED,
        segment_limit=LISTED,
    ),
    Method(
        "nbest-ar",
        Imported("nbest", "nbest_ar"),
        needs_k2=True,
        description="n-best list, rescored by the predictor over all alignments",
        options=(*NBEST_LIST, "nbest", "ar_weight"),
        uses=("hotwords",),
        sweeps=ORDERING,
        limit=COMPOSED,
        segment_limit=LISTED,
    ),
    Method(
        "mbr",
        Imported("nbest", "nbest_mbr"),
        needs_k2=True,
        description="least expected word errors over the n-best list",
        options=(*NBEST_LIST, "nbest", "nbest_scale"),
        uses=("hotwords", "pieces"),
        sweeps=ORDERING,
        limit=COMPOSED,
        segment_limit=LISTED,
    ),
    Method(
        "nbest-oracle",
        Imported("nbest", "nbest_oracle"),
        needs_k2=True,
        description="the text of the n-best list nearest to the reference: a bound",
        options=NBEST_LIST,
        uses=("hotwords",),
        sweeps=ORDERING,
        oracle=True,
        limit=COMPOSED,
        segment_limit=LISTED,
    ),
)
METHODS = {method.name: method for method in _TABLE}
