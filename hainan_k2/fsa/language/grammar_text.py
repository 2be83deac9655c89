"""The text form of a grammar, one rule a line.

    sentence: call $name [again] /2 | dial $digit{3,7} | (stop | quit) [the call] : hang-up
    name: anna | ben
        | my (mother | father)
    digit: one : 1@@ | two : 2@@                  # comment

A sentence is what the rule `sentence` can say. `$name` stands for a rule, `|` parts alternatives, `( )` groups, `[ ]`
may be left out, and after a word, rule or group `*`, `+`, `{3}`, `{3,7}`, `{3,}` repeat it. An indented line adds
alternatives to the rule above it, or goes on within its open bracket.

At the end of an alternative, `: words` is what it puts out instead of what is said (`:` alone: nothing), and `/2` makes
it twice as probable; nothing is normalised. An output that ends in @@ is joined to the next one. "Double quotes" go
around output words that hold signs of this notation.

Rules cannot lead back to themselves: a grammar is a finite automaton, and `*` and `+` say what repeats.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional, Union

START = "sentence"
MAX_DEPTH = 50  # of groups and rules within each other

RULE = re.compile(r"([^\W\d]\w*)\s*:(.*)")
PARTS = re.compile(
    r"""\s*(?:\$(?P<rule>[^\W\d]\w*) | "(?P<quoted>[^"]*)" | /(?P<weight>[^\s|()\[\]]*)
                       | \{(?P<count>\d{1,6}(?:,\d{0,6})?)\} | (?P<sign>[|()\[\]*+:])
                       | (?P<word>[^\s|()\[\]{}*+:/$~"]+) | (?P<end>$))""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Word:
    text: str
    line: int


@dataclass(frozen=True)
class Reference:
    rule: str
    line: int


@dataclass(frozen=True)
class Phrase:
    """Items one after the other; `output` instead of theirs, unless it is None; `score` is added."""

    items: tuple[Item, ...]
    output: Optional[tuple[str, ...]]
    score: float


@dataclass(frozen=True)
class Choice:
    phrases: tuple[Phrase, ...]


@dataclass(frozen=True)
class Repeat:
    """`item` at least `least` times, at most `most` times (None: without limit)."""

    item: Item
    least: int
    most: Optional[int]
    line: int


Item = Union[Word, Reference, Choice, Repeat]


class _Parser:
    """Parses the alternatives of one rule from its lines (number, text)."""

    def __init__(self, lines: list[tuple[int, str]], where: str):
        self.where, self.line, self.depth = where, lines[0][0], 0
        self.parts = list(self._split(lines))
        self.at = 0

    def _split(self, lines: list[tuple[int, str]]) -> Iterator[tuple[int, str, str]]:
        depth = 0
        for self.line, text in lines:
            at = 0
            while at < len(text):
                match = PARTS.match(text, at)
                if not match:
                    raise self.error(f"cannot read {text[at:].split()[0]!r}")
                at = match.end()
                part = match[match.lastgroup]
                depth += (part in "([") - (part in ")]") if match.lastgroup == "sign" else 0
                if match.lastgroup != "end":
                    yield self.line, match.lastgroup, part
            if not depth:  # a new line outside of brackets begins a new alternative
                yield self.line, "sign", "|"
        yield self.line, "end", ""

    def error(self, message: str) -> ValueError:
        return ValueError(f"{self.where}:{self.line}: {message}")

    def take(self, kind: str, text: Optional[str] = None) -> Optional[str]:
        """The next part's text, if it is of this kind (and text); `line` is that of the next part."""
        self.line, found, value = self.parts[self.at]
        if found != kind or text is not None and value != text:
            return None
        self.at += 1
        return value

    def next(self) -> str:
        """The next part in words."""
        return repr(self.parts[self.at][2]) if self.parts[self.at][1] != "end" else "the end of the rule"

    def alternatives(self) -> list[Phrase]:
        """All of the rule; empty alternatives, as before and after a `|` that continues a rule, are left out."""
        phrases = []
        while self.take("end") is None:
            if self.take("sign", "|") is None:
                phrases.append(self.phrase())
                if self.take("end") is None and self.take("sign", "|") is None:
                    raise self.error(f"unexpected {self.next()}")
                self.at -= 1
        return phrases

    def group(self, closing: str) -> Choice:
        """What follows an opening bracket."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"more than {MAX_DEPTH} brackets within each other")
        phrases = [self.phrase()]
        while self.take("sign", "|") is not None:
            phrases.append(self.phrase())
        if self.take("sign", closing) is None:
            raise self.error(f"a bracket is not closed: {closing!r} expected before {self.next()}")
        self.depth -= 1
        return Choice(tuple(phrases))

    def phrase(self) -> Phrase:
        items = []
        while (item := self.item()) is not None:
            items.append(item)
        if not items:
            raise self.error(f"words expected before {self.next()}; what may be left out stands in [ ]")
        output = None
        if self.take("sign", ":") is not None:
            output = tuple(self.output())
        return Phrase(tuple(items), output, self.weight())

    def item(self) -> Optional[Item]:
        if (word := self.take("word")) is not None:
            return self.repeated(Word(word, self.line))
        if (rule := self.take("rule")) is not None:
            return self.repeated(Reference(rule, self.line))
        if self.take("sign", "(") is not None:
            return self.repeated(self.group(")"))
        if self.take("sign", "[") is not None:
            return self.repeated(Repeat(self.group("]"), 0, 1, self.line))
        return None

    def repeated(self, item: Item) -> Item:
        count = self.take("count")
        if count is not None:
            least, comma, most = count.partition(",")
            limits = int(least), (int(most) if most else None) if comma else int(least)
            if limits[1] is not None and not max(1, limits[0]) <= limits[1]:
                raise self.error(f"{{{count}}} repeats nothing: {{n}}, {{n,m}} or {{n,}} with m >= n and m >= 1")
        elif self.take("sign", "*") is not None:
            limits = 0, None
        elif self.take("sign", "+") is not None:
            limits = 1, None
        else:
            return item
        return Repeat(item, *limits, self.line)

    def output(self) -> Iterator[str]:
        while True:
            word = self.take("word")
            word = self.take("quoted") if word is None else word
            if word is None:
                return
            yield from word.split()

    def weight(self) -> float:
        text = self.take("weight")
        if text is None:
            return 0.0
        try:
            return math.log(_positive(text))
        except ValueError:
            raise self.error(f"/{text} is no weight: a positive number, as in /0.5, multiplies a probability") from None


def _positive(text: str) -> float:
    value = float(text)
    if not 0.0 < value < math.inf:
        raise ValueError
    return value


def parse_grammar(text: str, where: str) -> dict[str, tuple[Phrase, ...]]:
    """{rule: its alternatives}, every rule after those that it refers to.

    Raises:
      ValueError: "WHERE:LINE: ..." on what is not of the notation above, on a rule that is missing, empty, defined
        twice or that leads back to itself.
    """
    lines: dict[str, list[tuple[int, str]]] = {}
    name = None
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.partition("#")[0].rstrip()
        if not line:
            continue
        if not line[0].isspace():
            match = RULE.fullmatch(line)
            if not match:
                raise ValueError(f"{where}:{number}: not a rule of the form `name: words | words`")
            name, line = match.groups()
            if name in lines:
                raise ValueError(f"{where}:{number}: rule {name} stands at line {lines[name][0][0]} already")
            lines[name] = []
        if name is None:
            raise ValueError(f"{where}:{number}: an indented line continues a rule, but none has begun")
        lines[name].append((number, line))
    rules = {name: tuple(_Parser(own, where).alternatives()) for name, own in lines.items()}
    for name, phrases in rules.items():
        if not phrases:
            raise ValueError(f"{where}:{lines[name][0][0]}: rule {name} says nothing")
    if START not in rules:
        raise ValueError(f"{where}: no rule `{START}`, where sentences begin")
    return {name: rules[name] for name in _ordered(rules, where)}


def references(item: Union[Item, Phrase]) -> Iterator[Reference]:
    """All references within."""
    if isinstance(item, Reference):
        yield item
    elif isinstance(item, Repeat):
        yield from references(item.item)
    elif isinstance(item, (Choice, Phrase)):
        for part in item.phrases if isinstance(item, Choice) else item.items:
            yield from references(part)


def _ordered(rules: dict[str, tuple[Phrase, ...]], where: str) -> list[str]:
    """The rules' names, each after those that it refers to; ValueError on rules that are missing or lead back to
    themselves."""
    uses = {name: [r for phrase in phrases for r in references(phrase)] for name, phrases in rules.items()}
    users: dict[str, list[str]] = {name: [] for name in rules}
    for name, used in uses.items():
        for reference in used:
            if reference.rule not in rules:
                raise ValueError(f"{where}:{reference.line}: no rule {reference.rule}")
            users[reference.rule].append(name)
    missing = {name: len(used) for name, used in uses.items()}  # references to rules that have no place yet
    order = [name for name, count in missing.items() if not count]
    for name in order:  # grows as it goes
        for user in users[name]:
            missing[user] -= 1
            if not missing[user]:
                order.append(user)
    bound = next((name for name, count in missing.items() if count), None)
    trail: dict[str, int] = {}  # rules without a place, each referred to by the one before
    while bound is not None:
        step = next(r for r in uses[bound] if missing[r.rule])
        if step.rule in trail:
            way = [*list(trail)[trail[step.rule] :], step.rule]
            shown = way if len(way) < 10 else [*way[:4], "...", *way[-4:]]
            raise ValueError(
                f"{where}:{step.line}: rule {step.rule} leads back to itself ({' -> '.join(shown)}): what "
                "repeats takes * or +"
            )
        trail[step.rule] = len(trail)
        bound = step.rule
    return order
