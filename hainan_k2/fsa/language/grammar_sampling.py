"""Random sentences of a grammar text, for synthetic corpora and to see what a grammar accepts."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping

from hainan_k2.fsa.language.grammar_text import START, Choice, Item, Phrase, Reference, Word

STALE = 1000  # draws without a new sentence, after which a grammar has no more


def draw_sentence(rules: Mapping[str, tuple[Phrase, ...]], rng: random.Random, rule: str = START) -> str:
    """One random sentence of input words; outputs are ignored.

    Alternatives are drawn in proportion to their weights. `{n,m}` and `[ ]` draw the number of repetitions uniformly;
    `*`, `+` and `{n,}` add another one with probability 1/2.

    >>> from hainan_k2.fsa.language.grammar_text import parse_grammar
    >>> draw_sentence(parse_grammar("sentence: call (anna | ben){2}", "g"), random.Random(0))
    'call anna ben'

    Args:
      rules: of parse_grammar.
      rule: the one to start from.
    """
    return " ".join(_draw(Reference(rule, 0), rules, rng))


def _draw(item: Item, rules: Mapping[str, tuple[Phrase, ...]], rng: random.Random) -> Iterator[str]:
    """The words of an item."""
    if isinstance(item, Word):
        yield item.text
    elif isinstance(item, Reference):
        yield from _draw(Choice(rules[item.rule]), rules, rng)
    elif isinstance(item, Choice):
        weights = [math.exp(phrase.score) for phrase in item.phrases]
        even = len(set(weights)) == 1
        phrase = rng.choice(item.phrases) if even else rng.choices(item.phrases, weights)[0]
        for part in phrase.items:
            yield from _draw(part, rules, rng)
    else:
        times = item.least if item.most is None else rng.randint(item.least, item.most)
        while item.most is None and rng.random() < 0.5:
            times += 1
        for _ in range(times):
            yield from _draw(item.item, rules, rng)


def distinct_sentences(rules: Mapping[str, tuple[Phrase, ...]], rng: random.Random) -> Iterator[str]:
    """Random sentences without end, none of them twice.

    Raises:
      ValueError: after 1000 draws in a row without a new sentence.
    """
    seen: set[str] = set()
    stale = 0
    while stale < STALE:
        sentence = draw_sentence(rules, rng)
        stale = stale + 1 if sentence in seen else 0
        if not stale:
            seen.add(sentence)
            yield sentence
    raise ValueError(f"the grammar has hardly more than {len(seen)} sentences")
