"""Weighted transducers from tokens to words in plain Python: the form of a grammar before it becomes tensors.

States are any integers. The input label of an arc is a token id, or 0 for epsilon; its output is a tuple of words, of
which an empty one ends the output before it. Scores are natural logarithms; a path that ends in a final state adds the
score of that state.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sized
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

MAX_ARCS = 200_000  # beyond it a grammar is too large to be composed exactly, and slow to read

EPSILON = 0

Output = tuple[str, ...]
Key = TypeVar("Key", bound=Hashable)


class Arc(NamedTuple):
    """(source) --- label : output / score ---> (target)"""

    source: int
    target: int
    label: int
    output: Output = ()
    score: float = 0.0


@dataclass(frozen=True)
class Automaton:
    """One start state, arcs in any order, and {final state: its score}."""

    start: int
    arcs: tuple[Arc, ...]
    finals: Mapping[int, float]


def trim(automaton: Automaton) -> Automaton:
    """The automaton without the states and arcs that are on no path from the start to a final state.

    Raises:
      ValueError: if there is no such path.
    """
    if not automaton.finals:
        raise ValueError("no final state: nothing can ever be accepted")
    ahead: dict[int, list[int]] = defaultdict(list)
    back: dict[int, list[int]] = defaultdict(list)
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
    """The same sentences, outputs and best scores without epsilons.

        (p) --- epsilon : x / s ---> (q) --- token : y / t ---> (r)     becomes     (p) --- token : x y / s + t ---> (r)

    Outputs stay before the tokens that follow them; only outputs after the last token move to the arc of that token. Of
    several paths of epsilons between two states with the same output, the best one counts.

    Raises:
      ValueError: on a cycle of epsilons, on output for the empty sentence, on more than MAX_ARCS arcs, and as `trim`.
    """
    automaton = trim(automaton)
    epsilons: dict[int, list[Arc]] = defaultdict(list)
    labelled: dict[int, list[Arc]] = defaultdict(list)
    for arc in automaton.arcs:
        (labelled if arc.label else epsilons)[arc.source].append(arc)
    closure = _closures(epsilons)
    best: dict[tuple[int, int, int, Output], float] = {}
    endings = {}  # {state: {output on a path of epsilons to the end: best score}}
    end = 1 + max([automaton.start, *(max(arc.source, arc.target) for arc in automaton.arcs)])  # a new state
    for p in {automaton.start, *(arc.target for arc in automaton.arcs if arc.label)}:
        reached = closure.get(p, {(p, ()): 0.0})
        endings[p] = _best(
            (output, w + automaton.finals[q]) for (q, output), w in reached.items() if q in automaton.finals
        )
        for (q, output), w in reached.items():
            for arc in labelled[q]:
                _keep(best, (p, arc.target, arc.label, output + arc.output), w + arc.score)
        _limit(best)
    empty_sentence = endings[automaton.start]
    if any(any(output) for output in empty_sentence):
        raise ValueError("there is output for the empty sentence: every output needs a token")
    for (p, q, label, output), w in list(best.items()):
        for last_output, final in endings[q].items():
            if last_output:
                _keep(best, (p, end, label, output + last_output), w + final)
        _limit(best)
    finals = {p: paths[()] for p, paths in endings.items() if () in paths}
    if empty_sentence:  # an empty output ends the one before, and here there is none
        finals[automaton.start] = max(empty_sentence.values())
    return trim(Automaton(automaton.start, _arcs(best), {**finals, end: 0.0}))


def _arcs(best: Mapping[tuple[int, int, int, Output], float]) -> tuple[Arc, ...]:
    return tuple(Arc(source, target, label, output, score) for (source, target, label, output), score in best.items())


def merge_alike(automaton: Automaton) -> Automaton:
    """The same sentences, outputs and best scores with fewer states.

    States with the same leaving arcs and final score become one, then states with the same entering arcs.
    """
    ends = automaton.finals
    kept = _representatives([(arc.source, arc[2:], arc.target) for arc in automaton.arcs], ends)
    automaton = _rename(automaton, kept)
    kept = _representatives([(arc.target, arc[2:], arc.source) for arc in automaton.arcs], {automaton.start: 0.0})
    return _rename(automaton, kept)


def _representatives(edges: Iterable[tuple[int, tuple, int]], marks: Mapping[int, float]) -> dict[int, int]:
    """{state: its representative} of states with the same mark and the same edges (state, label, neighbour).

    States that are alike only because of a cycle stay apart.
    """
    leaving: dict[int, set[tuple[tuple, int]]] = defaultdict(set)
    entering: dict[int, set[int]] = defaultdict(set)
    for state, label, neighbour in edges:
        leaving[state].add((label, neighbour))
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
            leaving[other] = {(label, representative(neighbour)) for label, neighbour in leaving[other]}
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
    return Automaton(kept.get(automaton.start, automaton.start), _arcs(best), finals)


def _keep(best: dict[Key, float], key: Key, score: float) -> None:
    if key not in best or score > best[key]:
        best[key] = score


def _best(scored: Iterable[tuple[Key, float]]) -> dict[Key, float]:
    best: dict[Key, float] = {}
    for key, score in scored:
        _keep(best, key, score)
    return best


def _limit(arcs: Sized) -> None:
    if len(arcs) > MAX_ARCS:
        raise ValueError(f"more than {MAX_ARCS} arcs: too large for an exact grammar, an n-gram LM may do")


def _closures(epsilons: Mapping[int, list[Arc]]) -> dict[int, dict[tuple[int, Output], float]]:
    """{state: {(state that epsilons lead to, output on the path): best score}} of states that epsilons leave."""
    closures: dict[int, dict[tuple[int, Output], float]] = {}
    total = 0
    for p in _epsilon_order(epsilons):
        paths: dict[tuple[int, Output], float] = {(p, ()): 0.0}
        for arc in epsilons[p]:
            for (q, output), w in closures.get(arc.target, {(arc.target, ()): 0.0}).items():
                _keep(paths, (q, arc.output + output), arc.score + w)
            if total + len(paths) > MAX_ARCS:
                raise ValueError(f"more than {MAX_ARCS} paths of epsilons: too many optional parts in a row")
        closures[p] = paths
        total += sum(1 + len(output) for _, output in paths)
    return closures


def _epsilon_order(epsilons: Mapping[int, list[Arc]]) -> list[int]:
    """The states that epsilons leave, each after all that epsilons lead to; ValueError on a cycle."""
    order: list[int] = []
    done: set[int] = set()
    open_states: set[int] = set()
    for root in epsilons:
        waiting = [(root, False)]
        while waiting:
            state, finished = waiting.pop()
            if finished:
                open_states.discard(state)
                done.add(state)
                order.append(state)
            elif state in open_states:
                raise ValueError(f"epsilon cycle through state {state}: it could repeat without a token")
            elif state not in done:
                open_states.add(state)
                waiting.append((state, True))
                waiting += [
                    (arc.target, False) for arc in epsilons[state] if arc.target in epsilons and arc.target not in done
                ]
    return order
