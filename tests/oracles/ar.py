"""References of autoregressive search through automata: every alignment, and every path of the automaton for it."""

from __future__ import annotations

import math
import random
from collections import defaultdict

from hainan_k2.fsa.language.automaton import Arc, Automaton, trim
from tests.oracles.search import _log_probs, _predict


def paths(model, encoded, max_symbols, scale=1.0, blank_penalty=0.0, bonus=0.0, time=0, count=0, ids=()):
    """Every alignment that the search allows: ([(token, frame, duration)], score)."""
    if time == len(encoded):
        yield [], 0.0
        return
    tokens, durations = _log_probs(model, encoded[time], _predict(model, ids))
    for token, token_lp in enumerate(tokens):
        for duration, duration_lp in zip(model.durations, durations):
            score = token_lp + scale * duration_lp + (bonus if token else -blank_penalty)
            stays = token != 0 and duration == 0 and count + 1 < max_symbols
            landing = time if stays else min(len(encoded), time + max(1, duration))
            text = (*ids, token) if token else ids
            onwards = (landing, count + 1 if stays else 0, text)
            for rest, ahead in paths(model, encoded, max_symbols, scale, blank_penalty, bonus, *onwards):
                yield [(token, time, duration)] * (token != 0) + rest, score + ahead


def no_automaton(ids):
    """[(score, outputs)] of the paths of an automaton that accepts every text with score 0."""
    return [(0.0, ())]


def random_automaton(seed, vocab_size, states=3, outputs=()):
    """A trim automaton with several arcs of a token, and loops; each state is final with a chance of 1/2."""
    rng = random.Random(seed)
    arcs = []
    for source in range(states):
        for _ in range(rng.randint(1, 5)):
            output = (rng.choice(outputs),) if outputs and rng.random() < 0.5 else ()
            token = rng.randint(1, vocab_size - 1)
            arcs.append(Arc(source, rng.randrange(states), token, output, round(rng.uniform(-2.0, 0.5), 3)))
    finals = {state: round(rng.uniform(-1.0, 0.5), 3) for state in range(states) if rng.random() < 0.5}
    finals = finals or {states - 1: 0.0}
    arcs.append(Arc(0, min(finals), 1, (), -0.5))
    return trim(Automaton(0, tuple(dict.fromkeys(arcs)), finals))


def readings(automaton, ids):
    """[(score, outputs)] of the paths of an automaton without epsilons for a text."""
    found = [(automaton.start, 0.0, ())]
    for token in ids:
        found = [
            (arc.target, score + arc.score, (*outputs, arc.output))
            for state, score, outputs in found
            for arc in automaton.arcs
            if arc.source == state and arc.label == token
        ]
    return [(s + automaton.finals[q], outputs) for q, s, outputs in found if q in automaton.finals]


def total_and_best(alignments, score_of=no_automaton):
    """Of alignments and the automaton's paths: log-sum of all, the best score, and {text: log-sum}."""
    scores, by_text = [], defaultdict(list)
    for tokens, score in alignments:
        ids = tuple(token for token, _, _ in tokens)
        for weight, _ in score_of(ids):
            if weight > -math.inf:
                scores.append(score + weight)
                by_text[ids].append(score + weight)
    return log_sum(scores), max(scores, default=-math.inf), {ids: log_sum(values) for ids, values in by_text.items()}


def log_sum(values):
    """log of the sum of exp of values."""
    best = max(values, default=-math.inf)
    return best if best == -math.inf else best + math.log(sum(math.exp(value - best) for value in values))
