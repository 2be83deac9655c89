"""Compiled grammars: without epsilons, saved and read again, and the example grammars of the package."""

import pytest
import torch
from hypothesis import given, settings

from hainan_k2.fsa.language import grammar_files
from hainan_k2.fsa.language.automaton import remove_epsilons
from hainan_k2.fsa.language.grammar import make_grammar, read_grammar
from hainan_k2.lang.train_bpe import train_bpe, write_lang
from hainan_k2.text.tokenizer import Tokenizer
from tests.fsa.language.grammars import LETTERS, as_automaton, automata, compiled, outputs_of
from tests.oracles import grammar as oracle
from tests.oracles.grammar import LetterTokenizer

EXAMPLES = sorted(grammar_files.EXAMPLES.glob("*.grammar"))


@settings(max_examples=40, deadline=None)
@given(automata())
def test_removing_epsilons_keeps_sentences_outputs_and_best_scores(automaton):
    expected = oracle.sentences(automaton, longest=3)
    try:
        result = remove_epsilons(automaton)
    except ValueError as error:
        empty = any(not labels and out for labels, out in expected)
        assert "no final state" in str(error) and not expected or "empty sentence" in str(error) and empty
        return
    assert all(arc.label for arc in result.arcs)
    for same in (result, as_automaton(make_grammar(result, LETTERS.pieces, True))):
        sentences = oracle.sentences(same, longest=3)
        assert sentences.keys() == expected.keys()
        assert all(sentences[key] == pytest.approx(score, abs=1e-5) for key, score in expected.items())


def test_saved_grammars(tmp_path):
    grammar = compiled(tmp_path, "sentence: (a : x | ab /0.5){1,3} | c")
    grammar.save(tmp_path / "g.safetensors")
    same = read_grammar(tmp_path / "g.safetensors", LETTERS)
    assert torch.equal(same.arcs, grammar.arcs) and torch.equal(same.scores, grammar.scores)
    assert (same.outputs, same.pieces, same.transduces) == (grammar.outputs, grammar.pieces, True)

    other = LetterTokenizer()
    other.pieces = (*LETTERS.pieces, "d")
    with pytest.raises(ValueError, match="was compiled for another tokenizer: compile it again"):
        read_grammar(tmp_path / "g.safetensors", other)
    bad = {"states": (0, 0, -1), "labels": (0, 2, 8), "outputs": (0, 3, 9)}
    for what, (row, column, value) in bad.items():
        arcs = grammar.arcs.clone()
        arcs[row, column] = value
        make_grammar(as_automaton(grammar), LETTERS.pieces, True)
        type(grammar)(arcs, grammar.scores, grammar.outputs, grammar.pieces, True).save(tmp_path / "bad.safetensors")
        with pytest.raises(ValueError, match=f"bad.safetensors holds a grammar with impossible {what}"):
            read_grammar(tmp_path / "bad.safetensors", LETTERS)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """A BPE model of the words of the example grammars."""
    words = [
        word
        for path in EXAMPLES
        for line in path.read_text().splitlines()
        for word in line.partition("#")[0].replace("(", " ").split()
        if word.isalpha()
    ]
    words += "abcdefghijklmnopqrstuvwxyz"
    texts = [" ".join(words[i : i + 6]) for i in range(0, len(words), 6)]
    return write_lang(train_bpe(texts, 200), tmp_path_factory.mktemp("lang"))


ACCEPTED = {
    "dates": {
        "on monday the twenty first of may nineteen eighty four": "monday 21 may 1984",
        "march the third two thousand and five": "march 3 2005",
        "first january": "1 january",
        "may thirty first twenty oh nine": "may 31 2009",
    },
    "digits": {"zero one two three": "0123", "oh nine double four": "0944", "seven": "7"},
    "home": {
        "please turn off the kitchen lights": "light-off kitchen",
        "louder": "louder",
        "set a timer for five minutes please": "timer 5",
        "set the heating in the office to twenty one degrees": "heating office 21",
    },
    "spelling": {"kilo two": "k2", "x ray": "x", "juliet oscar echo": "joe"},
}
REJECTED = {"dates": "the thirty second of may", "digits": "ten", "home": "turn the lights", "spelling": "hello"}


def test_the_examples_are_these():
    assert [path.stem for path in EXAMPLES] == sorted(ACCEPTED)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_grammars_compile(path, tokenizer):
    grammar = read_grammar(path, tokenizer)
    for words, output in ACCEPTED[path.stem].items():
        assert outputs_of(grammar, tokenizer.encode(words)) == {output}
    assert outputs_of(grammar, tokenizer.encode(REJECTED[path.stem])) == set()


def test_words_are_spelled_as_in_sentences(tokenizer: Tokenizer):
    sentence = "turn off the living room lights on the twenty first of december"
    assert tokenizer.encode(sentence) == [id for word in sentence.split() for id in tokenizer.encode(word)]
