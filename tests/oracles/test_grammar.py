"""The references of grammars, on trees whose sentences are listed by hand."""

import math

import pytest

from hainan_k2.fsa.language.automaton import Arc, Automaton
from tests.oracles.grammar import LetterTokenizer, best_in_grammar, has_output, join, language, sentences, show, size

A, B = ("word", "a"), ("word", "b")
EITHER = ("one", [A, B])
BOTH = ("all", [A, B], None, 1.0)
RENAMED = ("all", [A], ("x@@",), 0.5)
OPTIONAL = ("repeat", A, 0, 1)


def test_letters_spell_words():
    tokenizer = LetterTokenizer()
    assert [tokenizer.pieces[id] for id in tokenizer.encode("ab c")] == ["▁a", "b", "▁c"]
    assert tokenizer.encode("z") == [1]


@pytest.mark.parametrize(
    "tree, text, wanted",
    [
        (A, "a", {("a", "a"): 0.0}),
        (EITHER, "(a | b)", {("a", "a"): 0.0, ("b", "b"): 0.0}),
        (BOTH, "(a b)", {("a b", "a b"): 0.0}),
        (RENAMED, "(a : x@@ /0.5)", {("a", "x@@"): math.log(0.5)}),
        (OPTIONAL, "[a]", {("", ""): 0.0, ("a", "a"): 0.0}),
        (("repeat", EITHER, 2, 2), "((a | b)){2,2}", {(f"{x} {y}", f"{x} {y}"): 0.0 for x in "ab" for y in "ab"}),
        (("one", [A, ("all", [A], None, 3.0)]), "(a | (a /3.0))", {("a", "a"): math.log(3.0)}),
    ],
)
def test_the_language_of_a_tree(tree, text, wanted):
    assert show(tree) == text and size(tree) >= len(wanted)
    assert language(tree) == {tuple(tuple(side.split()) for side in sides): score for sides, score in wanted.items()}


def test_has_output():
    assert has_output(RENAMED) and has_output(("repeat", ("one", [A, RENAMED]), 0, 2))
    assert not any(map(has_output, (A, EITHER, BOTH, OPTIONAL)))


def test_join():
    assert join(("4@@", "2@@", "7")) == "427" and join(("a", "", "b")) == "a b" and join(()) == ""


def test_the_sentences_of_an_automaton():
    """0 -1:x-> 1 -eps-> 2, 0 -1:x-> 2, 2 -2-> 0; 2 is final."""
    arcs = Arc(0, 1, 1, ("x",), -1.0), Arc(1, 2, 0, (), -1.0), Arc(0, 2, 1, ("x",), -3.0), Arc(2, 0, 2, (), 0.0)
    found = sentences(Automaton(0, arcs, {2: -0.5}), longest=3)
    assert found == {((1,), ("x",)): -2.5, ((1, 2, 1), ("x", "x")): -4.5}


def test_the_best_path_in_a_grammar():
    rows = [[-0.1, -2.0, -1.0]], [[0.0]]  # one frame: blank, tokens 1 and 2; duration 1
    assert best_in_grammar(*rows, (1,), {(1,): 0.0, (2,): 0.0}) == ([(2, 0)], -1.0)
    assert best_in_grammar(*rows, (1,), {(1,): 0.0, (2,): -3.0}) == ([(1, 0)], -2.0)
    assert best_in_grammar(*rows, (1,), {(1, 2): 0.0}) is None
