"""Sentences drawn from a context-free grammar, so that a synthetic corpus says something worth decoding.

A grammar file has one rule a line, `name: alternative | alternative ...`, where `$other` stands for a rule
and `$other~s`, `~ed`, `~ing` for its regular inflection; an indented line goes on with the rule, `#` begins
a comment. Sentences begin at the rule `sentence`.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

PART = re.compile(r"\$(\w+)(?:~(\w+))?")


class Grammar:
    """The rules of a grammar file. ValueError names the line that is no rule and the rule that is missing."""

    def __init__(self, path: Path):
        self.rules: dict[str, list[str]] = {}
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            line = line.partition("#")[0].rstrip()
            if not line:
                continue
            if not line[0].isspace():
                name, colon, line = line.partition(":")
                if not colon or name in self.rules:
                    raise ValueError(f"{path}:{number}: not a new rule of the form `name: words | words`")
                self.rules[name] = []
            if not self.rules:
                raise ValueError(f"{path}:{number}: an indented line continues a rule, but none has begun")
            self.rules[name] += [text.strip() for text in line.split("|") if text.strip()]
        asked = {part[0] for texts in self.rules.values() for text in texts for part in PART.findall(text)}
        missing = sorted(({"sentence"} | asked) - set(self.rules))
        if missing:
            raise ValueError(f"{path}: no rule for {', '.join(missing)}")

    def sentence(self, rng: random.Random, rule: str = "sentence") -> str:
        """One random sentence: every alternative of a rule is as likely as the next."""

        def expand(match: re.Match) -> str:
            words = self.sentence(rng, match[1])
            return inflect(words, match[2]) if match[2] else words

        return PART.sub(expand, rng.choice(self.rules[rule]))

    def sentences(self, rng: random.Random):
        """Distinct sentences without end; ValueError when a thousand draws in a row brought nothing new."""
        seen: set[str] = set()
        stale = 0
        while stale < 1000:
            sentence = self.sentence(rng)
            stale = stale + 1 if sentence in seen else 0
            if not stale:
                seen.add(sentence)
                yield sentence
        raise ValueError(f"the grammar has hardly more than {len(seen)} sentences: ask for fewer hours")


def inflect(words: str, ending: str) -> str:
    """The regular inflection of the first word: `s` (plural or third person), `ed`, `ing`."""
    word, space, rest = words.partition(" ")
    consonant_y = word.endswith("y") and word[-2] not in "aeiou"
    if ending == "s" and (consonant_y or word.endswith(("s", "x", "z", "ch", "sh"))):
        word = word[:-1] + "ie" if consonant_y else word + "e"
    elif ending == "ed" and consonant_y:
        word = word[:-1] + "i"
    elif ending in ("ed", "ing") and word.endswith("e") and not word.endswith(("ee", "oe", "ye")):
        word = word[:-1]
    elif ending == "ed" and word.endswith("e"):
        word = word[:-1]
    return word + ending + space + rest
