"""References of grammars: the sentences of a tree of rules and of an automaton with epsilons, by enumeration."""

from __future__ import annotations

import math
from collections import defaultdict

from hypothesis import strategies as st

from tests.oracles import search as oracle_search

WORDS = ("a", "b", "c")


class LetterTokenizer:
    """Tokens are letters; the first of a word has a ▁. Ids: <blk>, <unk>, ▁a, ▁b, ▁c, a, b, c."""

    pieces = ("<blk>", "<unk>", *(f"▁{word}" for word in WORDS), *WORDS)

    def encode(self, text):
        marked = [letter for word in text.split() for letter in (f"▁{word[0]}", *word[1:])]
        return [self.pieces.index(letter) if letter in self.pieces else 1 for letter in marked]


# A tree is ("word", w), ("all", trees, output, weight), ("one", trees), ("repeat", tree, least, most).


@st.composite
def trees(draw, depth=3):
    """A grammar as a tree, every leaf of which is a word."""
    kind = draw(st.sampled_from(("word", "word", "all", "one", "repeat"))) if depth else "word"
    if kind == "word":
        return "word", draw(st.sampled_from(("a", "b", "c", "ab", "ac")))
    if kind == "repeat":
        least = draw(st.integers(0, 2))
        return kind, draw(trees(depth=depth - 1)), least, draw(st.integers(max(1, least), 2))
    if kind == "one":
        return kind, draw(st.lists(trees(depth=depth - 1), min_size=1, max_size=3))
    output = draw(st.sampled_from((None, None, (), ("x",), ("y@@",), ("x", "z"))))
    weight = draw(st.sampled_from((1.0, 1.0, 0.5, 3.0)))
    return kind, draw(st.lists(trees(depth=depth - 1), min_size=1, max_size=3)), output, weight


def size(tree):
    """An upper bound of the number of sentences of a tree."""
    if tree[0] == "word":
        return 1
    if tree[0] == "repeat":
        return sum(size(tree[1]) ** times for times in range(tree[2], tree[3] + 1))
    return sum(map(size, tree[1])) if tree[0] == "one" else math.prod(map(size, tree[1]))


def show(tree):
    """The tree in the notation of grammar texts."""
    kind = tree[0]
    if kind == "word":
        return tree[1]
    if kind == "one":
        return "(" + " | ".join(show(part) for part in tree[1]) + ")"
    if kind == "all":
        output = "" if tree[2] is None else " : " + " ".join(tree[2])
        weight = "" if tree[3] == 1.0 else f" /{tree[3]}"
        return "(" + " ".join(show(part) for part in tree[1]) + output + weight + ")"
    if (tree[2], tree[3]) == (0, 1):
        return f"[{show(tree[1])}]"
    return f"({show(tree[1])}){{{tree[2]},{tree[3]}}}"


def has_output(tree):
    if tree[0] == "word":
        return False
    if tree[0] == "repeat":
        return has_output(tree[1])
    return tree[0] == "all" and tree[2] is not None or any(has_output(part) for part in tree[1])


def language(tree):
    """{(input words, output words): best score} of all sentences of a tree."""
    kind = tree[0]
    if kind == "word":
        return {((tree[1],), (tree[1],)): 0.0}
    best = defaultdict(lambda: -math.inf)
    if kind == "one":
        for part in tree[1]:
            _add(best, language(part).items())
    elif kind == "all":
        for (words, out), score in _sequence([language(part) for part in tree[1]]).items():
            output = out if tree[2] is None else tree[2]
            _add(best, [((words, output), score + math.log(tree[3]))])
    else:
        for times in range(tree[2], tree[3] + 1):
            _add(best, _sequence([language(tree[1])] * times).items())
    return best


def _sequence(languages):
    so_far = {((), ()): 0.0}
    for following in languages:
        longer = defaultdict(lambda: -math.inf)
        for (words, out), score in so_far.items():
            _add(longer, (((words + w, out + o), score + s) for (w, o), s in following.items()))
        so_far = longer
    return so_far


def _add(best, scored):
    for key, score in scored:
        best[key] = max(best[key], score) if key in best else score


def join(out):
    """Output words as a text: a word that ends in @@ is joined to the next."""
    return (" ".join(word for word in out if word) + " ").replace("@@ ", "").strip()


def sentences(automaton, longest):
    """{(labels, outputs): best score} of the sentences of at most `longest` labels; epsilons have no cycle."""
    best = {}
    waiting = [(automaton.start, (), (), 0.0)]
    while waiting:
        state, labels, out, score = waiting.pop()
        if state in automaton.finals:
            key = labels, tuple(filter(None, out))
            best[key] = max(best.get(key, -math.inf), score + automaton.finals[state])
        for arc in automaton.arcs:
            if arc.source == state and len(labels) + bool(arc.label) <= longest:
                label = (arc.label,) if arc.label else ()
                waiting.append((arc.target, labels + label, out + arc.output, score + arc.score))
    return best


def best_in_grammar(token_rows, duration_rows, durations, allowed):
    """The best path of the NAR lattice over a sentence of {labels: score}: ([(token, frame)], score), or None."""
    best = None
    for path, score in oracle_search.nar_paths(token_rows, duration_rows, durations):
        labels = tuple(token for token, _ in path)
        if labels in allowed and (best is None or score + allowed[labels] > best[1]):
            best = path, score + allowed[labels]
    return best
