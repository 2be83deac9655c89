"""Weighted automata in plain Python: what a grammar is before k2 sees it.

States are any integers. An arc hears `label` (a token id, 0 for nothing), puts out words (an empty one ends what the
word before it stands for) and adds `score`, a natural logarithm. A path that ends in a final state adds its score.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

MAX_ARCS = 200_000  # beyond it a grammar is too large to be composed exactly, and slow to read

EPSILON = 0


class Arc(NamedTuple):
    """source -- label : output / score --> target"""

    source: int
    target: int
    label: int
    output: tuple[str, ...] = ()
    score: float = 0.0


@dataclass(frozen=True)
class Automaton:
    """start: a state; arcs: in any order; finals: {final state: its score}."""

    start: int
    arcs: tuple[Arc, ...]
    finals: Mapping[int, float]


def trim(automaton: Automaton) -> Automaton:
    """Only what lies on a path from the start to a final state; ValueError where there is no such path."""
    if not automaton.finals:
        raise ValueError("no final state: nothing can ever be accepted")
    ahead, back = defaultdict(list), defaultdict(list)
    for arc in automaton.arcs:
        ahead[arc.source].append(arc.target)
        back[arc.target].append(arc.source)
    useful = _reach([automaton.start], ahead) & _reach(automaton.finals, back)
    if automaton.start not in useful:
        raise ValueError(f"no final state can be reached from the start state {automaton.start}")
    arcs = tuple(arc for arc in automaton.arcs if arc.source in useful and arc.target in useful)
    return Automaton(automaton.start, arcs, {q: w for q, w in automaton.finals.items() if q in useful})


def _reach(roots: Iterable[int], following: Mapping[int, list[int]]) -> set[int]:
    seen, waiting = set(roots), list(roots)
    while waiting:
        for state in following.get(waiting.pop(), ()):
            if state not in seen:
                seen.add(state)
                waiting.append(state)
    return seen


def remove_epsilons(automaton: Automaton) -> Automaton:
    """The same sentences, outputs and best scores by arcs that all hear a token.

    Of several ways to do the same without hearing anything, the best one counts. What is put out on the way to the end,
    after the last token, moves to that token's arc.

    Raises:
      ValueError: on a cycle of epsilons, on output for the empty sentence, on more than MAX_ARCS arcs, and as `trim`.
    """
    automaton = trim(automaton)
    silent, spoken = defaultdict(list), defaultdict(list)
    for arc in automaton.arcs:
        (spoken if arc.label else silent)[arc.source].append(arc)
    closure = _closures(silent)
    best: dict[tuple, float] = {}
    endings = {}
    end = 1 + max([automaton.start, *(max(arc.source, arc.target) for arc in automaton.arcs)])  # a new state
    for p in {automaton.start, *(arc.target for arc in automaton.arcs if arc.label)}:
        reached = closure.get(p, {(p, ()): 0.0})
        endings[p] = _best(
            ((said,), w + automaton.finals[q]) for (q, said), w in reached.items() if q in automaton.finals
        )
        for (q, said), w in reached.items():
            for arc in spoken[q]:
                _keep(best, (p, arc.target, arc.label, said + arc.output), w + arc.score)
        _limit(best)
    silent_ways = endings[automaton.start]
    if any(any(said) for (said,) in silent_ways):
        raise ValueError("there is output for the empty sentence: every output needs a token to stand on")
    for (p, q, label, output), w in list(best.items()):
        for (said,), final in endings[q].items():
            if said:
                _keep(best, (p, end, label, output + said), w + final)
        _limit(best)
    finals = {p: ways[((),)] for p, ways in endings.items() if ((),) in ways}
    if silent_ways:  # an empty output ends the one before, and here there is none
        finals[automaton.start] = max(silent_ways.values())
    return trim(Automaton(automaton.start, tuple(Arc(*key, w) for key, w in best.items()), {**finals, end: 0.0}))


def merge_alike(automaton: Automaton) -> Automaton:
    """The same sentences, outputs and best scores by fewer states: those with the same arcs and final score become one,
    then those that the same arcs lead to."""
    ends = automaton.finals
    kept = _representatives([(arc.source, arc[2:], arc.target) for arc in automaton.arcs], ends)
    automaton = _rename(automaton, kept)
    kept = _representatives([(arc.target, arc[2:], arc.source) for arc in automaton.arcs], {automaton.start: 0.0})
    return _rename(automaton, kept)


def _representatives(edges: Iterable[tuple[int, tuple, int]], marks: Mapping[int, float]) -> dict[int, int]:
    """{state: its representative} of states that edges (state, what, neighbour) and marks do not tell from another.

    States that only a cycle makes alike stay apart.
    """
    leaving, entering = defaultdict(set), defaultdict(set)
    for state, what, neighbour in edges:
        leaving[state].add((what, neighbour))
        entering[neighbour].add(state)
    kept: dict[int, int] = {}
    known: dict[tuple, int] = {}

    def representative(state: int) -> int:
        while state in kept:
            state = kept[state]
        return state

    waiting = sorted({*leaving, *entering, *marks})
    while waiting:
        merged = []
        for state in waiting:
            if state in kept:
                continue
            twin = representative(known.setdefault((marks.get(state), frozenset(leaving[state])), state))
            if twin != state:
                kept[state] = twin
                merged.append(state)
        again: set[int] = set()
        for state in merged:
            again |= entering[state]
            entering[representative(state)] |= entering[state]
        for other in again:  # once in a round, however many of its neighbours have become one
            leaving[other] = {(what, representative(neighbour)) for what, neighbour in leaving[other]}
        waiting = sorted(again)
    for state in kept:
        while kept[state] in kept:
            kept[state] = kept[kept[state]]
    return kept


def _rename(automaton: Automaton, kept: Mapping[int, int]) -> Automaton:
    best = _best(
        ((kept.get(a.source, a.source), kept.get(a.target, a.target), a.label, a.output), a.score)
        for a in automaton.arcs
    )
    finals = _best((kept.get(q, q), w) for q, w in automaton.finals.items())
    return Automaton(kept.get(automaton.start, automaton.start), tuple(Arc(*key, w) for key, w in best.items()), finals)


def _keep(best: dict[Any, float], key: Any, score: float) -> None:
    if key not in best or score > best[key]:
        best[key] = score


def _best(scored: Iterable[tuple[Any, float]]) -> dict[Any, float]:
    best: dict[Any, float] = {}
    for key, score in scored:
        _keep(best, key, score)
    return best


def _limit(found: Mapping) -> None:
    if len(found) > MAX_ARCS:
        raise ValueError(f"more than {MAX_ARCS} arcs: too large for an exact grammar, an n-gram LM may do")


def _closures(silent: Mapping[int, list[Arc]]) -> dict[int, dict[tuple, float]]:
    """{state: {(state reached by epsilons alone, output on the way): best score}} of states that epsilons leave."""
    closures: dict[int, dict[tuple, float]] = {}
    total = 0
    for p in _epsilon_order(silent):
        ways = {(p, ()): 0.0}
        for arc in silent[p]:
            for (q, said), w in closures.get(arc.target, {(arc.target, ()): 0.0}).items():
                _keep(ways, (q, arc.output + said), arc.score + w)
            if total + len(ways) > MAX_ARCS:
                raise ValueError(f"more than {MAX_ARCS} ways through its epsilons: too many optional parts in a row")
        closures[p] = ways
        total += sum(1 + len(said) for _, said in ways)
    return closures


def _epsilon_order(silent: Mapping[int, list[Arc]]) -> list[int]:
    """The states that epsilons leave, each after all that epsilons lead to; ValueError on a cycle."""
    order, done, open_states = [], set(), set()
    for root in silent:
        waiting = [(root, False)]
        while waiting:
            state, finished = waiting.pop()
            if finished:
                open_states.discard(state)
                done.add(state)
                order.append(state)
            elif state in open_states:
                raise ValueError(f"epsilon cycle through state {state}: it could go round without hearing anything")
            elif state not in done:
                open_states.add(state)
                waiting.append((state, True))
                waiting += [
                    (arc.target, False) for arc in silent[state] if arc.target in silent and arc.target not in done
                ]
    return order
