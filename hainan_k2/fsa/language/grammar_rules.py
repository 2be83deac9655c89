"""From the rules of a grammar text to an automaton over tokens, in which every reference is a copy of its rule.

    a b      (0) -- a --> (1) -- b --> (2)
    a | b    (0) -- a --> (1), (2) -- b --> (3), with epsilons into (0) and (2), and from (1) and (3) to the end
    [a]      (0) -- a --> (1), with epsilons from (0) and (1) to the end
    a+       (0) -- a --> (1), (2) -- a --> (3), with epsilons from (1) and (3) to (2), and from (2) to the end

The output of an alternative is on its first epsilon, that of a word without one on the arc of its first token; the
weight of an alternative is the score of its first epsilon. remove_epsilons then takes the epsilons out.
"""

from __future__ import annotations

from typing import Union

from hainan_k2.fsa.language.automaton import EPSILON, MAX_ARCS, Arc, Automaton, Output, remove_epsilons
from hainan_k2.fsa.language.grammar_text import (
    MAX_DEPTH,
    START,
    Choice,
    Item,
    Phrase,
    Reference,
    Repeat,
    Word,
    parse_grammar,
)
from hainan_k2.fsa.language.spelling import Speller


def may_be_empty(item: Union[Item, Phrase], empty: set[str]) -> bool:
    """Whether the item matches the empty sentence, if the rules `empty` do."""
    if isinstance(item, Word):
        return False
    if isinstance(item, Reference):
        return item.rule in empty
    if isinstance(item, Repeat):
        return item.least == 0 or may_be_empty(item.item, empty)
    if isinstance(item, Phrase):
        return all(may_be_empty(part, empty) for part in item.items)
    return any(may_be_empty(phrase, empty) for phrase in item.phrases)


def empty_rules(rules: dict[str, tuple[Phrase, ...]]) -> set[str]:
    """The rules that match the empty sentence; `rules` as of parse_grammar, each after those that it refers to."""
    empty: set[str] = set()
    for name, phrases in rules.items():
        if may_be_empty(Choice(phrases), empty):
            empty.add(name)
    return empty


class _Builder:
    """Collects the arcs of an automaton with epsilons; states are numbered in the order they are made."""

    def __init__(self, rules: dict[str, tuple[Phrase, ...]], speller: Speller, where: str):
        self.rules, self.speller, self.where = rules, speller, where
        self.arcs: list[Arc] = []
        self.size, self.depth, self.line = 1, 0, 0  # line: of the last word or reference
        self.transduces = False
        self.empty = empty_rules(rules)

    def state(self) -> int:
        self.size += 1
        return self.size - 1

    def arc(self, source: int, target: int, label: int = EPSILON, output: Output = (), score: float = 0.0) -> None:
        self.arcs.append(Arc(source, target, label, output, score))
        if len(self.arcs) > MAX_ARCS:
            raise ValueError(
                f"{self.where}:{self.line}: more than {MAX_ARCS} arcs with every rule written out: too "
                "large for an exact grammar"
            )

    def item(self, item: Item, start: int, mute: bool) -> int:
        """Adds the arcs of `item` from state `start`, without its outputs if `mute`; returns the state they end in."""
        if isinstance(item, Word):
            return self.word(item, start, mute)
        if isinstance(item, Repeat):
            return self.repeat(item, start, mute)
        if isinstance(item, Reference):
            self.line = item.line
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError(f"{self.where}:{self.line}: more than {MAX_DEPTH} rules and brackets within each other")
        end = self.state()
        for phrase in item.phrases if isinstance(item, Choice) else self.rules[item.rule]:
            self.phrase(phrase, start, end, mute)
        self.depth -= 1
        return end

    def word(self, word: Word, start: int, mute: bool) -> int:
        self.line = word.line
        try:
            ids = self.speller.spell(word.text)
        except ValueError as error:
            raise ValueError(f"{self.where}:{self.line}: {error}") from None
        output: Output = () if mute else (self.speller.text(ids),)
        for id in ids:
            end = self.state()
            self.arc(start, end, id, output)
            start, output = end, ()
        return start

    def phrase(self, phrase: Phrase, start: int, end: int, mute: bool) -> None:
        at = self.state()
        output: Output = ()
        if phrase.output is not None:
            self.transduces = True
            output, mute = () if mute else phrase.output or ("",), True
        self.arc(start, at, output=output, score=phrase.score)
        for item in phrase.items:
            at = self.item(item, at, mute)
        self.arc(at, end)

    def repeat(self, repeat: Repeat, start: int, mute: bool) -> int:
        if repeat.most is None and may_be_empty(repeat.item, self.empty):
            raise ValueError(
                f"{self.where}:{repeat.line}: repeats without limit what may be left out: drop its [ ] or *"
            )
        for _ in range(repeat.least):
            start = self.item(repeat.item, start, mute)
        end = self.state()
        self.arc(start, end)
        if repeat.most is not None:
            for _ in range(repeat.most - repeat.least):
                start = self.item(repeat.item, start, mute)
                self.arc(start, end)
            return end
        again = self.state()
        self.arc(start, again)
        self.arc(self.item(repeat.item, again, mute), again)
        self.arc(again, end)
        return end


def compile_text(text: str, where: str, speller: Speller) -> tuple[Automaton, bool]:
    """The automaton of a grammar text, without epsilons, and whether it has outputs, that is a `:` anywhere.

    Args:
      text: in the notation of hainan_k2.fsa.language.grammar_text.
      where: the file's name, for messages.
    Raises:
      ValueError: "WHERE:LINE: ..." as parse_grammar, on words that the tokenizer cannot spell, on unlimited repetition
        of an item that may be empty, and on grammars of more than MAX_ARCS arcs.
    """
    builder = _Builder(parse_grammar(text, where), speller, where)
    end = builder.item(Reference(START, 0), 0, False)
    arcs = builder.arcs if builder.transduces else [arc._replace(output=()) for arc in builder.arcs]
    try:
        return remove_epsilons(Automaton(0, tuple(arcs), {end: 0.0})), builder.transduces
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
