"""Grammars written as rules: what they say, and which are refused with what words."""

import sys

import pytest
from hypothesis import assume, example, given, settings

from hainan_k2.fsa.language.automaton import _representatives
from hainan_k2.fsa.language.grammar_rules import empty_rules
from hainan_k2.fsa.language.grammar_text import parse_grammar
from tests.fsa.language.grammars import LETTERS, as_automaton, compiled, refused
from tests.oracles import grammar as oracle


@settings(max_examples=40, deadline=None)
@given(tree=oracle.trees())
@example(tree=("all", [("repeat", ("word", "a"), 0, 1)], (), 1.0))  # the empty sentence, and an empty output of it
def test_a_text_accepts_the_sentences_of_its_rules(tree, tmp_path_factory):
    assume(oracle.size(tree) <= 100)
    text = f"sentence: {oracle.show(tree)}\n"
    expected = {}
    for (words, out), score in oracle.language(tree).items():
        key = tuple(LETTERS.encode(" ".join(words))), out if oracle.has_output(tree) else ()
        expected[key] = max(score, expected.get(key, score))
    folder = tmp_path_factory.mktemp("g")
    if any(not labels and out for labels, out in expected):
        assert "output for the empty sentence" in refused(folder, text)
        return
    grammar = compiled(folder, text)
    assert grammar.transduces == oracle.has_output(tree)
    sentences = oracle.sentences(as_automaton(grammar), longest=1 + max(len(labels) for labels, _ in expected))
    assert sentences.keys() == expected.keys()
    assert all(sentences[key] == pytest.approx(score, abs=1e-5) for key, score in expected.items())


def test_merging_makes_grammars_small(tmp_path):
    loop = compiled(tmp_path, "sentence: (a | b | c | ab | cb)+")
    assert (loop.num_states, len(loop.arcs)) == (4, 12)  # start, end of a word, before the b of ab and cb, final


@pytest.mark.parametrize(
    "text, message",
    [
        ("sentence: a\nb c", "g:2: not a rule of the form `name: words | words`"),
        ("  a | b", "g:1: an indented line continues a rule, but none has begun"),
        ("sentence: a\nx: b\nsentence: c", "g:3: rule sentence is already defined in line 1"),
        ("x: a", "g: no rule `sentence`, where sentences begin"),
        ("", "g: no rule `sentence`, where sentences begin"),
        ("sentence: a\nx:", "g:2: rule x is empty"),
        ("sentence: a $x", "g:1: no rule x"),
        (
            "sentence: $x\nx: a $y\n  | b\ny: c |\n  $x",
            "g:5: rule x refers back to itself (x -> y -> x): write repetition with * or +",
        ),
        ("sentence: a (b", "g:1: a bracket is not closed: ')' expected before the end of the rule"),
        ("sentence: a (b ]", "g:1: a bracket is not closed: ')' expected before ']'"),
        ("sentence: a )", "g:1: unexpected ')'"),
        ("sentence: a (b | )", "g:1: words expected before ')'; write optional parts in [ ]"),
        ("sentence: a : $x", "g:1: unexpected 'x'"),
        ("sentence: : b", "g:1: words expected before ':'; write optional parts in [ ]"),
        ("sentence: a\n  | b{2,1}", "g:2: {2,1} repeats nothing: {n}, {n,m} or {n,} with m >= n and m >= 1"),
        ("sentence: a{0}", "g:1: {0} repeats nothing: {n}, {n,m} or {n,} with m >= n and m >= 1"),
        (
            "sentence: a\n  | b\n  | c /0",
            "g:3: /0 is no weight: a positive number, as in /0.5, multiplies a probability",
        ),
        ("sentence: a /inf", "g:1: /inf is no weight: a positive number, as in /0.5, multiplies a probability"),
        ("sentence: a ~s", "g:1: cannot read '~s'"),
        ("sentence: a d", "g:1: the tokenizer cannot spell 'd'"),
        ("sentence: [a]*", "g:1: repeats without limit what may be left out: drop its [ ] or *"),
        ("sentence: $x+\nx: $y\ny: [a] [b]", "g:1: repeats without limit what may be left out: drop its [ ] or *"),
        ("sentence: " + 60 * "(" + "a" + 60 * ")", "g:1: more than 50 brackets within each other"),
        ("sentence: [a] : x", "g: there is output for the empty sentence: every output needs a token"),
        (
            "sentence: a{999999}",
            "g:1: more than 200000 arcs with every rule written out: too large for an exact grammar",
        ),
        (
            "sentence: $r0\n" + "".join(f"r{i}: $r{i + 1} $r{i + 1}\n" for i in range(40)) + "r40: a",
            "g:42: more than 200000 arcs with every rule written out: too large for an exact grammar",
        ),
        (
            "sentence: $r0\n" + "".join(f"r{i}: [$r{i + 1}] [$r{i + 1}]\n" for i in range(20)) + "r20: a",
            "g:22: more than 200000 arcs with every rule written out: too large for an exact grammar",
        ),
        (
            "sentence: $r0*\n" + "".join(f"r{i}: [$r{i + 1}] [$r{i + 1}]\n" for i in range(60)) + "r60: a",
            "g:1: repeats without limit what may be left out: drop its [ ] or *",
        ),
        (
            "sentence: $r0\n" + "".join(f"r{i}: $r{i + 1}\n" for i in range(60)) + "r60: a",
            "g:50: more than 50 rules and brackets within each other",
        ),
        (
            "sentence: " + 3000 * "[a] ",
            "g: more than 200000 paths of epsilons: too many optional parts in a row",
        ),
        ("sentence: a\n\xff", "g:2: not a rule of the form `name: words | words`"),
        (b"sentence: a\n\xff", "g is neither UTF-8 text nor an OpenFst binary nor a saved grammar"),
    ],
)
def test_broken_texts(tmp_path, text, message):
    assert refused(tmp_path, text) == message


def calls(function, *arguments):
    """How many functions, built-in ones too, are called in a call of one."""
    count = 0

    def see(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(see)
    try:
        function(*arguments)
    finally:
        sys.setprofile(None)
    return count


def chain(length, last="a"):
    return "sentence: $r0\n" + "".join(f"r{i}: [$r{i + 1}]\n" for i in range(length)) + f"r{length}: {last}\n"


@pytest.mark.parametrize(
    "work",
    [
        lambda length: parse_grammar(chain(length), "g"),
        lambda length: empty_rules(parse_grammar(chain(length), "g")),
        lambda length: pytest.raises(ValueError, parse_grammar, chain(length, "$r0"), "g"),
    ],
    ids=["order", "empty", "cycle"],
)
def test_a_chain_of_rules_is_linear_work(work):
    """10,000 rules, each of which refers to the next one, took 25 s."""
    assert calls(work, 400) < 2.5 * calls(work, 200)


def test_long_chains_of_rules_are_refused_in_one_short_line(tmp_path):
    assert refused(tmp_path, chain(10_000)) == "g:25: more than 50 rules and brackets within each other"
    message = refused(tmp_path, chain(10_000, "a $r0"))
    assert message == (
        "g:10002: rule r0 refers back to itself (r0 -> r1 -> r2 -> r3 -> ... -> r9998 -> r9999 -> r10000 "
        "-> r0): write repetition with * or +"
    )


class Counted:
    """The words of an arc, which count how often they are looked up."""

    hashes = 0

    def __hash__(self):
        Counted.hashes += 1
        return id(self)


def test_merging_alternatives_is_linear_work():
    """Many words that end alike: each alternative of a state is looked at a few times, not once for each of them."""

    def work(count):
        words, Counted.hashes = [Counted() for _ in range(count)], 0
        end = count + 1
        edges = [(0, words[i], i + 1) for i in range(count)] + [(i + 1, "last", end) for i in range(count)]
        assert set(_representatives(edges, {end: 0.0}).values()) == {1}
        return Counted.hashes

    assert work(400) < 2.5 * work(200)
