"""Options of every search; the command-line flags are made from these fields."""

from __future__ import annotations

from dataclasses import dataclass, fields
from fnmatch import fnmatchcase

from hainan_k2.config import option


@dataclass(frozen=True)
class SearchConfig:
    """How to search. A method takes the fields that its help names; scores are natural logarithms."""

    max_symbols: int = option(10, "ar-*: tokens on one frame, after which time moves on by one frame")
    sar_rounds: int = option(1, "sar*: rounds of refinement at most; it stops when nothing changes")
    duration_scale: float = option(1.0, "*viterbi*, grammar, graph, nbest*, mbr: weight of the durations' "
                                   "log-probabilities")
    blank_penalty: float = option(0.0, "*viterbi*, grammar, graph, nbest*, mbr, ar-beam: subtracted for every blank")
    token_bonus: float = option(0.0, "*viterbi*, grammar, graph, nbest*, mbr, ar-beam: added for every token")
    top_k: int = option(4, "*viterbi*, nbest*, mbr: tokens kept per frame, blank beside them")
    beam: int = option(4, "ar-beam: hypotheses kept per utterance")
    beam_durations: int = option(2, "ar-beam: most probable durations tried at each step")
    nbest: int = option(1, "ar-beam, nbest, nbest-lm, nbest-ar, mbr: hypotheses returned, of `beam` or `num_paths`")
    num_paths: int = option(20, "nbest*, mbr: texts to choose from, those of the best paths through the lattice")
    nbest_scale: float = option(1.0, "mbr: weight of the log-probabilities; less than 1 makes them more alike")
    lm_scale: float = option(0.3, "viterbi-lm, graph, nbest-lm: weight of the language model's log-probabilities")
    lodr_scale: float = option(0.1, "viterbi-lm: weight of the low-order model's log-probabilities, subtracted")
    search_beam: float = option(12.0, "graph: states this much worse than a frame's best are left")
    output_beam: float = option(8.0, "graph: paths this much worse than the best are left out of the lattice")
    min_active_states: int = option(30, "graph: states kept on a frame however bad they are, about")
    max_active_states: int = option(2000, "graph: states kept on a frame at most, about")
    ar_weight: float = option(0.5, "nbest-ar: share of the predictor's score, from 0 to 1; the lattice has the rest")
    grammar_threshold: float = option(0.5, "grammar: nats per frame that the best path in the grammar may lie below "
                                      "viterbi's before the utterance counts as outside of it")
    grammar_fallback: bool = option(False, "grammar: give viterbi's result for utterances outside the grammar")
    lattice_beam: float = option(8.0, "*viterbi*, nbest*, mbr: while the lattice is composed with a language model or "
                                 "hotwords, paths this much worse than the best are dropped")
    lattice_states: int = option(32, "*viterbi*, nbest*, mbr: and states beyond this number on a frame")
    hotword_scale: float = option(1.0, "ar-*, sar*, *viterbi*, nbest*, mbr: what a hotword of weight 1 adds per token")

    def __post_init__(self):
        for name in ("max_symbols", "sar_rounds", "top_k", "beam", "beam_durations", "nbest", "num_paths",
                     "lattice_states"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be at least 1")
        for name in ("hotword_scale", "lm_scale", "lodr_scale"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must not be negative")
        for name in ("search_beam", "output_beam", "lattice_beam"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be above 0")
        if not 0 <= self.min_active_states < self.max_active_states:
            raise ValueError(f"min_active_states is {self.min_active_states}: it must lie in 0 ... "
                             f"{self.max_active_states - 1}, below max_active_states")
        if self.duration_scale < 0:
            raise ValueError(f"duration_scale is {self.duration_scale}: it must not be negative")
        if not self.nbest_scale >= 0:
            raise ValueError(f"nbest_scale is {self.nbest_scale}: it must not be negative")
        if not self.grammar_threshold >= 0:
            raise ValueError(f"grammar_threshold is {self.grammar_threshold}: it must not be negative")
        if not 0 <= self.ar_weight <= 1:
            raise ValueError(f"ar_weight is {self.ar_weight}: it must lie in 0 ... 1")


def options_of(method: str) -> tuple[str, ...]:
    """The options that a method takes: those whose help begins with its name, or a pattern of it."""
    return tuple(f.name for f in fields(SearchConfig)
                 if any(fnmatchcase(method, name) for name in f.metadata["help"].split(":")[0].split(", ")))
