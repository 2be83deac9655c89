"""Options of every search; the command-line flags are made from these fields."""

from __future__ import annotations

from dataclasses import dataclass

from hainan_k2.config import check_options, option


@dataclass(frozen=True)
class SearchConfig:
    """How to search. Method.options says which of these a method takes; scores are natural logarithms (nats).

    Some methods have defaults of their own for some options (Method.defaults); Method.config makes a SearchConfig of
    them.
    """

    max_symbols: int = option(10, "tokens on one frame at most; then time moves on by one frame", at_least=1)
    sar_rounds: int = option(1, "rounds of refinement at most; a round that changes nothing is the last", at_least=1)
    duration_scale: float = option(1.0, "weight of the durations' log-probabilities", at_least=0)
    skip_scale: float = option(
        0.0,
        "weight of the blanks' log-probabilities on the frames that a duration skips: what is skipped is not free",
        at_least=0,
    )
    blank_penalty: float = option(0.0, "subtracted from the score for every blank, nats")
    token_bonus: float = option(0.0, "added to the score for every token, nats")
    top_k: int = option(4, "tokens kept per frame, beside blank", at_least=1)
    beam: int = option(4, "hypotheses kept per utterance", at_least=1)
    guide: str = option(
        "none",
        "what is added to scores at different frames; nar: the best score that the encoder expects from there on",
        ("nar", "none"),
    )
    context_tokens: int = option(
        0, "hypotheses whose last tokens, this many, agree are merged; 0: all tokens", at_least=0
    )
    beam_durations: int = option(2, "most probable durations tried at each step", at_least=1)
    nbest: int = option(1, "hypotheses returned, out of --beam or --num-paths", at_least=1)
    lattice: str = option(
        "nar",
        "the lattice of the list; nar: the encoder's; ar: what the beam search with the predictor keeps, "
        "for rescore beside the encoder's",
        ("nar", "ar"),
    )
    num_paths: int = option(20, "texts on the n-best list, those of the best paths through the lattice", at_least=1)
    nbest_scale: float = option(
        1.0, "scale of the log-probabilities of the texts; below 1 the texts become more equally likely", at_least=0
    )
    lm_weight: float = option(0.5, "weight of the language model's score when texts are rescored", at_least=0)
    ctc_weight: float = option(0.0, "weight of the CTC head's score when texts are rescored", at_least=0)
    length_bonus: float = option(0.5, "added to the score for every token when texts are rescored, nats")
    lm_scale: float = option(0.3, "weight of the language model's log-probabilities", at_least=0)
    lodr_scale: float = option(0.1, "weight of the log-probabilities of --lodr-lm, which are subtracted", at_least=0)
    search_beam: float = option(
        12.0, "states of the graph this much worse than the best of the frame are pruned, nats", above=0, infinite=True
    )
    output_beam: float = option(
        8.0, "paths this much worse than the best are pruned from the lattice, nats", above=0, infinite=True
    )
    min_active_states: int = option(30, "states of the graph kept per frame at least, about", at_least=0)
    max_active_states: int = option(2000, "states of the graph kept per frame at most, about", at_least=1)
    ar_weight: float = option(
        0.5, "weight of the predictor's score, from 0 to 1; the lattice's score has the rest", at_least=0, at_most=1
    )
    grammar_threshold: float = option(
        2.0,
        "an utterance is outside the grammar if its best path in the grammar is this much worse than the best without, "
        "nats per token",
        at_least=0,
    )
    grammar_fallback: bool = option(
        False, "return the result without grammar for utterances outside it, in place of no text"
    )
    lattice_beam: float = option(
        8.0,
        "paths this much worse than the best are pruned while the lattice is composed with a language model or "
        "hotwords, nats",
        above=0,
        infinite=True,
    )
    lattice_states: int = option(32, "states kept per frame in that composition", at_least=1)
    hotword_scale: float = option(1.0, "added to the score per token of a hotword of weight 1, nats", at_least=0)

    def __post_init__(self) -> None:
        check_options(self)
        if self.min_active_states >= self.max_active_states:
            raise ValueError(
                f"min_active_states is {self.min_active_states}: it must be below max_active_states "
                f"{self.max_active_states}"
            )

    help_title = "search options"
