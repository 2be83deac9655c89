"""Options of every search; the command-line flags are made from these fields."""

from __future__ import annotations

from dataclasses import dataclass, fields
from fnmatch import fnmatchcase

from hainan_k2.config import check_options, option


@dataclass(frozen=True)
class SearchConfig:
    """How to search. A method takes the fields that its help names; scores are natural logarithms."""

    max_symbols: int = option(10, "ar-*: tokens on one frame, after which time moves on by one frame", at_least=1)
    sar_rounds: int = option(1, "sar*: rounds of refinement at most; it stops when nothing changes", at_least=1)
    duration_scale: float = option(
        1.0, "*viterbi*, grammar, graph, nbest*, mbr: weight of the durations' log-probabilities", at_least=0
    )
    blank_penalty: float = option(0.0, "*viterbi*, grammar, graph, nbest*, mbr, ar-beam: subtracted for every blank")
    token_bonus: float = option(0.0, "*viterbi*, grammar, graph, nbest*, mbr, ar-beam: added for every token")
    top_k: int = option(4, "*viterbi*, nbest*, mbr: tokens kept per frame, blank beside them", at_least=1)
    beam: int = option(4, "ar-beam: hypotheses kept per utterance", at_least=1)
    beam_durations: int = option(2, "ar-beam: most probable durations tried at each step", at_least=1)
    nbest: int = option(
        1, "ar-beam, nbest, nbest-lm, nbest-ar, mbr: hypotheses returned, of `beam` or `num_paths`", at_least=1
    )
    num_paths: int = option(
        20, "nbest*, mbr: texts to choose from, those of the best paths through the lattice", at_least=1
    )
    nbest_scale: float = option(
        1.0, "mbr: weight of the log-probabilities; less than 1 makes them more alike", at_least=0
    )
    lm_scale: float = option(
        0.3, "viterbi-lm, graph, nbest-lm: weight of the language model's log-probabilities", at_least=0
    )
    lodr_scale: float = option(
        0.1, "viterbi-lm: weight of the low-order model's log-probabilities, subtracted", at_least=0
    )
    search_beam: float = option(
        12.0, "graph: states this much worse than a frame's best are left", above=0, infinite=True
    )
    output_beam: float = option(
        8.0, "graph: paths this much worse than the best are left out of the lattice", above=0, infinite=True
    )
    min_active_states: int = option(30, "graph: states kept on a frame however bad they are, about", at_least=0)
    max_active_states: int = option(2000, "graph: states kept on a frame at most, about", at_least=1)
    ar_weight: float = option(
        0.5, "nbest-ar: share of the predictor's score, from 0 to 1; the lattice has the rest", at_least=0, at_most=1
    )
    grammar_threshold: float = option(
        0.5,
        "grammar: nats per frame that the best path in the grammar may lie below "
        "viterbi's before the utterance counts as outside of it",
        at_least=0,
    )
    grammar_fallback: bool = option(False, "grammar: give viterbi's result for utterances outside the grammar")
    lattice_beam: float = option(
        8.0,
        "*viterbi*, nbest*, mbr: while the lattice is composed with a language model or "
        "hotwords, paths this much worse than the best are dropped",
        above=0,
        infinite=True,
    )
    lattice_states: int = option(32, "*viterbi*, nbest*, mbr: and states beyond this number on a frame", at_least=1)
    hotword_scale: float = option(
        1.0, "ar-*, sar*, *viterbi*, nbest*, mbr: what a hotword of weight 1 adds per token", at_least=0
    )

    def __post_init__(self):
        check_options(self)
        if self.min_active_states >= self.max_active_states:
            raise ValueError(
                f"min_active_states is {self.min_active_states}: it must be below max_active_states "
                f"{self.max_active_states}"
            )


def options_of(method: str) -> tuple[str, ...]:
    """The options that a method takes: those whose help begins with its name, or a pattern of it."""
    return tuple(
        f.name
        for f in fields(SearchConfig)
        if any(fnmatchcase(method, name) for name in f.metadata["help"].split(":")[0].split(", "))
    )
