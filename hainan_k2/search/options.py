"""Options of every search; the command-line flags are made from these fields."""

from __future__ import annotations

from dataclasses import dataclass

from hainan_k2.config import option


@dataclass(frozen=True)
class SearchConfig:
    """How to search. A method takes the fields that its help names; scores are natural logarithms."""

    max_symbols: int = option(10, "ar-*: tokens on one frame, after which time moves on by one frame")
    sar_rounds: int = option(1, "sar*: rounds of refinement at most; it stops when nothing changes")
    duration_scale: float = option(1.0, "viterbi, sar-viterbi: weight of the duration log-probabilities")
    blank_penalty: float = option(0.0, "viterbi, sar-viterbi, ar-beam: subtracted for every blank")
    token_bonus: float = option(0.0, "viterbi, sar-viterbi, ar-beam: added for every token")
    top_k: int = option(4, "viterbi, sar-viterbi: tokens kept per frame, blank beside them")
    beam: int = option(4, "ar-beam: hypotheses kept per utterance")
    beam_durations: int = option(2, "ar-beam: most probable durations tried at each step")
    nbest: int = option(1, "ar-beam: hypotheses returned per utterance, at most `beam`")

    def __post_init__(self):
        for name in ("max_symbols", "sar_rounds", "top_k", "beam", "beam_durations", "nbest"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be at least 1")
        if self.duration_scale < 0:
            raise ValueError(f"duration_scale is {self.duration_scale}: it must not be negative")
