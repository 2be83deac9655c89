"""The text form of a grammar, one rule a line.

    sentence: call $name [again] /2 | dial $digit{3,7} | (stop | quit) [the call] : hang-up
    name: anna | ben
        | my (mother | father)
    digit: one : 1@@ | two : 2@@                  # comment

The rule `sentence` is the start. `$name` refers to a rule, `|` separates alternatives, `( )` groups, `[ ]` is optional,
and `*`, `+`, `{3}`, `{3,7}`, `{3,}` repeat the word, rule or group before them. An indented line adds alternatives to
the rule above it, or continues an open bracket.

`: words` at the end of an alternative is written in place of its words (`:` alone: nothing is written), and `/2` makes
the alternative twice as probable; weights are not normalised. An output that ends in @@ is joined to the next one.
Output words that contain signs of this notation are written in "double quotes".

Rules must not refer back to themselves: a grammar is a finite automaton, and repetition is written with `*` and `+`.
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
    """A word of the sentence, and its line in the file."""

    text: str
    line: int


@dataclass(frozen=True)
class Reference:
    """`$rule`."""

    rule: str
    line: int


@dataclass(frozen=True)
class Phrase:
    """One alternative: items in a row, the output that replaces theirs (None: theirs), and a score, the log weight."""

    items: tuple[Item, ...]
    output: Optional[tuple[str, ...]]
    score: float


@dataclass(frozen=True)
class Choice:
    """Alternatives in brackets."""

    phrases: tuple[Phrase, ...]


@dataclass(frozen=True)
class Repeat:
    """`item`, from `least` to `most` times (None: without limit)."""

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
                kind = match.lastgroup or "end"
                part = match[kind]
                depth += (part in "([") - (part in ")]") if kind == "sign" else 0
                if kind != "end":
                    yield self.line, kind, part
            if not depth:  # a new line outside of brackets begins a new alternative
                yield self.line, "sign", "|"
        yield self.line, "end", ""

    def error(self, message: str) -> ValueError:
        return ValueError(f"{self.where}:{self.line}: {message}")

    def take(self, kind: str, text: Optional[str] = None) -> Optional[str]:
        """The text of the next part, if that is of this kind (and text), else None; `line` becomes the line of it."""
        self.line, next_kind, value = self.parts[self.at]
        if next_kind != kind or text is not None and value != text:
            return None
        self.at += 1
        return value

    def next(self) -> str:
        """The next part, quoted for a message."""
        return repr(self.parts[self.at][2]) if self.parts[self.at][1] != "end" else "the end of the rule"

    def alternatives(self) -> list[Phrase]:
        """All alternatives of the rule. Empty ones, before and after a `|` at the end of a line, are left out."""
        phrases = []
        while self.take("end") is None:
            if self.take("sign", "|") is None:
                phrases.append(self.phrase())
                if self.take("end") is None and self.take("sign", "|") is None:
                    raise self.error(f"unexpected {self.next()}")
                self.at -= 1
        return phrases

    def group(self, closing: str) -> Choice:
        """The alternatives after an opening bracket, up to `closing`."""
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
            raise self.error(f"words expected before {self.next()}; write optional parts in [ ]")
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
        """The item, with the sign of repetition that may follow it."""
        limits: tuple[int, Optional[int]]
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
    """{rule: its alternatives} of a grammar text, every rule after those that it refers to.

    Raises:
      ValueError: "WHERE:LINE: ..." on a line that is not in the notation above, and on a rule that is missing, empty,
        defined twice, or refers back to itself.
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
                raise ValueError(f"{where}:{number}: rule {name} is already defined in line {lines[name][0][0]}")
            lines[name] = []
        if name is None:
            raise ValueError(f"{where}:{number}: an indented line continues a rule, but none has begun")
        lines[name].append((number, line))
    rules = {name: tuple(_Parser(own, where).alternatives()) for name, own in lines.items()}
    for name, phrases in rules.items():
        if not phrases:
            raise ValueError(f"{where}:{lines[name][0][0]}: rule {name} is empty")
    if START not in rules:
        raise ValueError(f"{where}: no rule `{START}`, where sentences begin")
    return {name: rules[name] for name in _ordered(rules, where)}


def references(item: Union[Item, Phrase]) -> Iterator[Reference]:
    """All references in an item."""
    if isinstance(item, Reference):
        yield item
    elif isinstance(item, Repeat):
        yield from references(item.item)
    elif isinstance(item, (Choice, Phrase)):
        for part in item.phrases if isinstance(item, Choice) else item.items:
            yield from references(part)


def _ordered(rules: dict[str, tuple[Phrase, ...]], where: str) -> list[str]:
    """The names of the rules, each after those that it refers to.

    ValueError on rules that are missing or refer back to themselves.
    """
    uses = {name: [r for phrase in phrases for r in references(phrase)] for name, phrases in rules.items()}
    users: dict[str, list[str]] = {name: [] for name in rules}
    for name, used in uses.items():
        for reference in used:
            if reference.rule not in rules:
                raise ValueError(f"{where}:{reference.line}: no rule {reference.rule}")
            users[reference.rule].append(name)
    missing = {name: len(used) for name, used in uses.items()}  # references to rules that are not in `order` yet
    order = [name for name, count in missing.items() if not count]
    for name in order:  # grows as it goes
        for user in users[name]:
            missing[user] -= 1
            if not missing[user]:
                order.append(user)
    bound = next((name for name, count in missing.items() if count), None)
    trail: dict[str, int] = {}  # rules that are not in `order`, each referred to by the one before
    while bound is not None:
        step = next(r for r in uses[bound] if missing[r.rule])
        if step.rule in trail:
            path = [*list(trail)[trail[step.rule] :], step.rule]
            shown = path if len(path) < 10 else [*path[:4], "...", *path[-4:]]
            raise ValueError(
                f"{where}:{step.line}: rule {step.rule} refers back to itself ({' -> '.join(shown)}): write "
                "repetition with * or +"
            )
        trail[step.rule] = len(trail)
        bound = step.rule
    return order
