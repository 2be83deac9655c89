import random
import sys

import kaldifst
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.automaton import Arc, Automaton, remove_epsilons
from hainan_k2.fsa.grammar import make_grammar, read_grammar
from hainan_k2.fsa.openfst import read_fst_binary, read_fst_text
from hainan_k2.text import Tokenizer
from tests import oracle_grammar as oracle
from tests.oracle_grammar import LetterTokenizer
from tests.toy import ROOT

LETTERS = LetterTokenizer()
EXAMPLES = sorted((ROOT / "lang" / "grammars").glob("*.grammar"))


def compiled(tmp_path, text, tokenizer=LETTERS, **options):
    path = tmp_path / "g"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_grammar(path, tokenizer, **options)


def refused(tmp_path, text, **options):
    """The one line that a file is refused with, without its folder."""
    with pytest.raises(ValueError) as caught:
        compiled(tmp_path, text, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{tmp_path}/", "")


def as_automaton(grammar):
    """What the tensors of a grammar say."""
    arcs, finals = [], {}
    for (source, target, label, output), score in zip(grammar.arcs.tolist(), grammar.scores.tolist()):
        if label == -1:
            finals[source] = score
        else:
            arcs.append(Arc(source, target, label, tuple(grammar.outputs[output].split()), score))
    return Automaton(0, tuple(arcs), finals)


def accepts(grammar, ids):
    states = {0}
    for label in [*ids, -1]:
        states = {t for s, t, found, _ in grammar.arcs.tolist() if s in states and found == label}
    return bool(states)


def outputs_of(grammar, ids):
    """All texts that a transducer puts out for token ids."""
    found = {(0, ())}
    arcs = grammar.arcs.tolist()
    for label in [*ids, -1]:
        found = {(t, out + (grammar.outputs[o],)) for s, out in found for a, t, heard, o in arcs
                 if a == s and heard == label}
    return {oracle.join(out) for _, out in found}


@settings(max_examples=40, deadline=None)
@given(tree=oracle.trees())
def test_a_text_says_what_its_rules_say(tree, tmp_path_factory):
    assume(oracle.size(tree) <= 100)
    text = f"sentence: {oracle.show(tree)}\n"
    expected = {}
    for (said, out), score in oracle.language(tree).items():
        key = tuple(LETTERS.encode(" ".join(said))), out if oracle.has_output(tree) else ()
        expected[key] = max(score, expected.get(key, score))
    folder = tmp_path_factory.mktemp("g")
    if any(not labels and out for labels, out in expected):
        assert "output for the empty sentence" in refused(folder, text)
        return
    grammar = compiled(folder, text)
    assert grammar.transduces == oracle.has_output(tree)
    found = oracle.sentences(as_automaton(grammar), longest=1 + max(len(labels) for labels, _ in expected))
    assert found.keys() == expected.keys()
    assert all(found[key] == pytest.approx(score, abs=1e-5) for key, score in expected.items())


@st.composite
def automata(draw, num_labels=3):
    """Of 2 to 5 states, with epsilons that lead to larger states only, so that they have no cycle."""
    num_states = draw(st.integers(2, 5))
    arcs = []
    for _ in range(draw(st.integers(1, 9))):
        source, target = draw(st.integers(0, num_states - 1)), draw(st.integers(0, num_states - 1))
        label = draw(st.integers(0 if target > source else 1, num_labels))
        output = draw(st.sampled_from(((), (), ("x",), ("y", "z"))))
        arcs.append(Arc(source, target, label, output, draw(st.integers(-8, 0)) / 4))
    finals = draw(st.dictionaries(st.integers(0, num_states - 1), st.sampled_from((0.0, -0.5)), min_size=1, max_size=2))
    return Automaton(0, tuple(arcs), finals)


@settings(max_examples=40, deadline=None)
@given(automata())
def test_removing_epsilons_keeps_sentences_outputs_and_best_scores(automaton):
    expected = oracle.sentences(automaton, longest=3)
    try:
        found = remove_epsilons(automaton)
    except ValueError as error:
        empty = any(not labels and out for labels, out in expected)
        assert "no final state" in str(error) and not expected or "empty sentence" in str(error) and empty
        return
    assert all(arc.label for arc in found.arcs)
    for same in (found, as_automaton(make_grammar(found, LETTERS.pieces, True))):
        sentences = oracle.sentences(same, longest=3)
        assert sentences.keys() == expected.keys()
        assert all(sentences[key] == pytest.approx(score, abs=1e-5) for key, score in expected.items())


def test_merging_makes_grammars_small(tmp_path):
    loop = compiled(tmp_path, "sentence: (a | b | c | ab | cb)+")
    assert (loop.num_states, len(loop.arcs)) == (4, 12)  # start, end of a word, before the b of ab and cb, final


@pytest.mark.parametrize("text, message", [
    ("sentence: a\nb c", "g:2: not a rule of the form `name: words | words`"),
    ("  a | b", "g:1: an indented line continues a rule, but none has begun"),
    ("sentence: a\nx: b\nsentence: c", "g:3: rule sentence stands at line 1 already"),
    ("x: a", "g: no rule `sentence`, where sentences begin"),
    ("", "g: no rule `sentence`, where sentences begin"),
    ("sentence: a\nx:", "g:2: rule x says nothing"),
    ("sentence: a $x", "g:1: no rule x"),
    ("sentence: $x\nx: a $y\n  | b\ny: c |\n  $x",
     "g:5: rule x leads back to itself (x -> y -> x): what repeats takes * or +"),
    ("sentence: a (b", "g:1: a bracket is not closed: ')' expected before the end of the rule"),
    ("sentence: a (b ]", "g:1: a bracket is not closed: ')' expected before ']'"),
    ("sentence: a )", "g:1: unexpected ')'"),
    ("sentence: a (b | )", "g:1: words expected before ')'; what may be left out stands in [ ]"),
    ("sentence: a : $x", "g:1: unexpected 'x'"),
    ("sentence: : b", "g:1: words expected before ':'; what may be left out stands in [ ]"),
    ("sentence: a\n  | b{2,1}", "g:2: {2,1} repeats nothing: {n}, {n,m} or {n,} with m >= n and m >= 1"),
    ("sentence: a{0}", "g:1: {0} repeats nothing: {n}, {n,m} or {n,} with m >= n and m >= 1"),
    ("sentence: a\n  | b\n  | c /0", "g:3: /0 is no weight: a positive number, as in /0.5, multiplies a probability"),
    ("sentence: a /inf", "g:1: /inf is no weight: a positive number, as in /0.5, multiplies a probability"),
    ("sentence: a ~s", "g:1: cannot read '~s'"),
    ("sentence: a d", "g:1: the tokenizer cannot spell 'd'"),
    ("sentence: [a]*", "g:1: repeats without limit what may be left out: drop its [ ] or *"),
    ("sentence: $x+\nx: $y\ny: [a] [b]", "g:1: repeats without limit what may be left out: drop its [ ] or *"),
    ("sentence: " + 60 * "(" + "a" + 60 * ")", "g:1: more than 50 brackets within each other"),
    ("sentence: [a] : x", "g: there is output for the empty sentence: every output needs a token to stand on"),
    ("sentence: a{999999}", "g:1: more than 200000 arcs with every rule written out: too large for an exact grammar"),
    ("sentence: $r0\n" + "".join(f"r{i}: $r{i + 1} $r{i + 1}\n" for i in range(40)) + "r40: a",
     "g:42: more than 200000 arcs with every rule written out: too large for an exact grammar"),
    ("sentence: $r0\n" + "".join(f"r{i}: [$r{i + 1}] [$r{i + 1}]\n" for i in range(20)) + "r20: a",
     "g:22: more than 200000 arcs with every rule written out: too large for an exact grammar"),
    ("sentence: $r0*\n" + "".join(f"r{i}: [$r{i + 1}] [$r{i + 1}]\n" for i in range(60)) + "r60: a",
     "g:1: repeats without limit what may be left out: drop its [ ] or *"),
    ("sentence: $r0\n" + "".join(f"r{i}: $r{i + 1}\n" for i in range(60)) + "r60: a",
     "g:50: more than 50 rules and brackets within each other"),
    ("sentence: " + 3000 * "[a] ", "g: more than 200000 ways through its epsilons: too many optional parts in a row"),
    ("sentence: a\n\xff", "g:2: not a rule of the form `name: words | words`"),
    (b"sentence: a\n\xff", "g is neither UTF-8 text nor an OpenFst binary nor a saved grammar"),
])
def test_broken_texts(tmp_path, text, message):
    assert refused(tmp_path, text) == message


@pytest.mark.parametrize("text, message", [
    ("0 1 2\n", "g: no final state: nothing can ever be accepted"),
    ("0 1 2\n2 3 3\n3\n", "g: no final state can be reached from the start state 0"),
    ("0 1 2\n1 2 0\n2 1 0\n2\n", "g: epsilon cycle through state 1: it could go round without hearing anything"),
    ("0 1 2 nan\n1", "g:1: a cost of nan: it must be a finite number"),
    ("0 1 2 2 inf\n1", "g:1: a cost of inf: it must be a finite number"),
    ("0 1 2\n1 Infinity", "g: no final state: nothing can ever be accepted"),
    ("0 1 2\n1 -inf", "g:2: a cost of -inf: it must be a finite number"),
    ("0 1 2\n1 x", "g:2: 'x' is no cost"),
    ("0 1 2\n1 2 3 4 5 6\n1", "g:2: 6 fields; an acceptor has lines `source target label [cost]` and `state [cost]`"),
    ("0 1 2 2\n1 2 3 4 5 6\n1", "g:2: 6 fields; a transducer has lines `source target input output [cost]` and `state "
                                "[cost]`"),
    ("0 -1 2\n1", "g:1: '-1' is no state number"),
    ("0 1 8\n1", "g:1: token 8 is beyond the tokenizer's 8 pieces"),
    ("0 1 ▁a\n0 1 ▁d\n1", "g:2: '▁d' is none of the tokenizer's 8 pieces"),
    ("0 1 ab\n0 1 de\n1", "g:2: the tokenizer cannot spell 'de'"),
    ("0 1 <eps> x 0.5\n1", "g: there is output for the empty sentence: every output needs a token to stand on"),
])
def test_broken_openfst_texts(tmp_path, text, message):
    assert refused(tmp_path, text) == message


def test_symbols(tmp_path):
    words = {0: "<eps>", 7: "ab", 9: "c"}
    by_id, by_name = compiled(tmp_path, "4 1 7 9 0.5\n1", input_symbols=words, output_symbols=words), compiled(
        tmp_path, "0 1 ab c 0.5\n1", input_symbols=words, output_symbols=words)
    for grammar in (by_id, by_name):
        assert oracle.sentences(as_automaton(grammar), 3) == {((2, 6), ("c",)): -0.5}
    assert refused(tmp_path, "0 1 7\n0 1 8\n1", input_symbols=words) == (
        "g:2: unknown symbol '8': not in the symbol table of 3")
    assert refused(tmp_path, "0 1 7\n1", level="word") == (
        "g: a word-level FST of numbers needs the symbol table of its words")
    assert refused(tmp_path, "0 1 7\n1", level="words") == "level must be one of auto, word, token, got 'words'"


ONE_OF_EACH = {  # the same sentence "ab", with output x, at a cost of 1
    "words": ("3 1 ab x 0.75\n1 0.25\n", None),
    "tokens": ("0 1 ▁a <eps>\n1 5 b x 0.75\n5 0.25", None),
    "ids": ("0 1 2 9 0.75\n1 2 6 0\n2 3 0 0 0.25\n3", {9: "x"}),
}


@pytest.mark.parametrize("kind", ONE_OF_EACH)
def test_levels_of_openfst_texts(tmp_path, kind):
    text, symbols = ONE_OF_EACH[kind]
    grammar = compiled(tmp_path, text, output_symbols=symbols)
    assert oracle.sentences(as_automaton(grammar), 3) == {((2, 6), ("x",)): -1.0}


def table(*symbols):
    return kaldifst.SymbolTable.from_str("".join(f"{symbol} {i}\n" for i, symbol in enumerate(symbols)))


@pytest.mark.parametrize("fst_type", ["vector", "const"])
@settings(max_examples=15, deadline=None)
@given(automaton=automata())
def test_openfst_text_and_binary_are_the_same(tmp_path_factory, fst_type, automaton):
    path, names = tmp_path_factory.mktemp("fst") / "g.fst", ("<eps>", "x", "y", "z")
    lines = [f"{a.source} {a.target} {a.label} {names.index(a.output[0]) if a.output else 0} {-a.score}\n"
             for a in sorted(automaton.arcs, key=lambda a: a.source)]
    text = "".join(lines + [f"{q} {-w}\n" for q, w in automaton.finals.items()])
    fst = kaldifst.compile(text, acceptor=False, fst_type=fst_type)
    fst.write(str(path))
    binary, printed = read_fst_binary(path.read_bytes(), "g"), read_fst_text(fst.to_str(), "g", acceptor=False)
    assert sorted(arc[:5] for arc in binary.arcs) == sorted(arc[:5] for arc in printed.arcs)
    assert binary.finals == printed.finals and binary.start == printed.start


def test_binary_files_keep_their_symbols(tmp_path):
    names = {"isymbols": table("<eps>", "ab", "c"), "osymbols": table("<eps>", "x", "y")}
    fst = kaldifst.compile("0 1 ab x 0.5\n1 1 c y\n1\n", **names, keep_isymbols=True, keep_osymbols=True)
    for kept in (fst, kaldifst.StdConstFst(fst)):
        kept.write(str(tmp_path / "fst"))
        grammar = compiled(tmp_path, (tmp_path / "fst").read_bytes())
        assert oracle.sentences(as_automaton(grammar), 3) == {((2, 6), ("x",)): -0.5, ((2, 6, 4), ("x", "y")): -0.5}


def test_binary_files_that_cannot_be_used(tmp_path):
    kaldifst.compile("0 1 2 2\n1", acceptor=False).write(str(tmp_path / "fst"))
    data = (tmp_path / "fst").read_bytes()
    assert refused(tmp_path, data[:40]) == "g: ends at byte 40, in the middle of the FST"
    assert refused(tmp_path, data[:-9]) == f"g: ends at byte {len(data) - 9}, in the middle of the FST"
    assert "FST of type 'banana' with arcs" in refused(tmp_path, data.replace(b"vector", b"banana"))
    assert refused(tmp_path, data.replace(b"\x01\0\0\0\0\0\0\0\x02", b"\x01\x01\0\0\0\0\0\0\x02", 1)).startswith(
        "g: claims 257 arcs, which its")
    kaldifst.StdVectorFst().write(str(tmp_path / "fst"))
    assert refused(tmp_path, (tmp_path / "fst").read_bytes()) == "g: an FST without a start state: it accepts nothing"


def test_saved_grammars(tmp_path):
    grammar = compiled(tmp_path, "sentence: (a : x | ab /0.5){1,3} | c")
    grammar.save(tmp_path / "g.pt")
    same = read_grammar(tmp_path / "g.pt", LETTERS)
    assert torch.equal(same.arcs, grammar.arcs) and torch.equal(same.scores, grammar.scores)
    assert (same.outputs, same.pieces, same.transduces) == (grammar.outputs, grammar.pieces, True)

    other = LetterTokenizer()
    other.pieces = (*LETTERS.pieces, "d")
    with pytest.raises(ValueError, match="was compiled for another tokenizer: compile it again"):
        read_grammar(tmp_path / "g.pt", other)
    bad = {"states": (0, 0, -1), "labels": (0, 2, 8), "outputs": (0, 3, 9)}
    for what, (row, column, value) in bad.items():
        arcs = grammar.arcs.clone()
        arcs[row, column] = value
        make_grammar(as_automaton(grammar), LETTERS.pieces, True)
        type(grammar)(arcs, grammar.scores, grammar.outputs, grammar.pieces, True).save(tmp_path / "bad.pt")
        with pytest.raises(ValueError, match=f"bad.pt holds a grammar with impossible {what}"):
            read_grammar(tmp_path / "bad.pt", LETTERS)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """A BPE model of the words of the example grammars."""
    sys.path.insert(0, str(ROOT / "lang"))
    from train_bpe import train_bpe, write_lang

    words = [word for path in EXAMPLES for line in path.read_text().splitlines()
             for word in line.partition("#")[0].replace("(", " ").split() if word.isalpha()]
    words += "abcdefghijklmnopqrstuvwxyz"
    texts = [" ".join(words[i : i + 6]) for i in range(0, len(words), 6)]
    return write_lang(train_bpe(texts, 200), tmp_path_factory.mktemp("lang"))


SAID = {
    "dates": {"on monday the twenty first of may nineteen eighty four": "monday 21 may 1984",
              "march the third two thousand and five": "march 3 2005", "first january": "1 january",
              "may thirty first twenty oh nine": "may 31 2009"},
    "digits": {"zero one two three": "0123", "oh nine double four": "0944", "seven": "7"},
    "home": {"please turn off the kitchen lights": "light-off kitchen", "louder": "louder",
             "set a timer for five minutes please": "timer 5", "set the heating in the office to twenty one degrees":
             "heating office 21"},
    "spelling": {"kilo two": "k2", "x ray": "x", "juliet oscar echo": "joe"},
}
NOT_SAID = {"dates": "the thirty second of may", "digits": "ten", "home": "turn the lights", "spelling": "hello"}


def test_the_examples_are_these():
    assert [path.stem for path in EXAMPLES] == sorted(SAID)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_grammars_compile(path, tokenizer):
    grammar = read_grammar(path, tokenizer)
    for said, output in SAID[path.stem].items():
        assert outputs_of(grammar, tokenizer.encode(said)) == {output}
    assert outputs_of(grammar, tokenizer.encode(NOT_SAID[path.stem])) == set()


def test_words_are_spelled_as_in_sentences(tokenizer: Tokenizer):
    sentence = "turn off the living room lights on the twenty first of december"
    assert tokenizer.encode(sentence) == [id for word in sentence.split() for id in tokenizer.encode(word)]


def test_grammars_of_the_recipes_are_of_the_same_notation(tokenizer):
    """What the recipe's own reader of these files draws from one is accepted."""
    sys.path.insert(0, str(ROOT / "recipes" / "librispeech" / "local"))
    from grammar import Grammar

    path = ROOT / "recipes" / "librispeech" / "conf" / "synth_small.grammar"
    compiled_one, generator, rng = read_grammar(path, tokenizer), Grammar(path), random.Random(1)
    for _ in range(20):
        assert accepts(compiled_one, tokenizer.encode(generator.sentence(rng)))
    assert not accepts(compiled_one, tokenizer.encode("turn the the"))
