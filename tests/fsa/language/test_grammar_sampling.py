"""Sentences drawn from grammar texts are accepted by the compiled grammars, and come as often as their weights say."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.language.grammar import read_grammar
from hainan_k2.fsa.language.grammar_sampling import distinct_sentences, draw_sentence
from hainan_k2.fsa.language.grammar_text import parse_grammar
from hainan_k2.lang.train_bpe import train_bpe, write_lang
from tests.fsa.language.grammars import LETTERS, accepts, compiled
from tests.oracles import grammar as oracle
from tests.toy import ROOT


def draws(text, count=2000, seed=0):
    rules, rng = parse_grammar(text, "g"), random.Random(seed)
    return Counter(draw_sentence(rules, rng) for _ in range(count))


@settings(max_examples=30, deadline=None)
@given(oracle.trees(), st.integers(0, 100))
def test_drawn_sentences_are_in_the_language(tree, seed):
    rules, rng = parse_grammar(f"sentence: {oracle.show(tree)}", "g"), random.Random(seed)
    words = {" ".join(words) for words, _ in oracle.language(tree)}
    assert {draw_sentence(rules, rng) for _ in range(5)} <= words


def test_weights_are_proportions():
    counts = draws("sentence: a /3 | b | c /4")
    assert {word: count / 2000 for word, count in counts.items()} == pytest.approx(
        {"a": 3 / 8, "b": 1 / 8, "c": 4 / 8}, abs=0.04
    )


def test_repetitions():
    lengths = Counter(len(sentence.split()) for sentence in draws("sentence: a{2,4}").elements())
    assert {n: count / 2000 for n, count in lengths.items()} == pytest.approx(dict.fromkeys((2, 3, 4), 1 / 3), abs=0.04)
    lengths = Counter(len(sentence.split()) for sentence in draws("sentence: a+").elements())
    assert [lengths[n] / 2000 for n in (1, 2, 3)] == pytest.approx([0.5, 0.25, 0.125], abs=0.04)
    assert draws("sentence: a [b]")["a b"] / 2000 == pytest.approx(0.5, abs=0.04)
    assert min(map(len, draws("sentence: b a*"))) == 1


def test_outputs_are_not_spoken(tmp_path):
    assert set(draws("sentence: $word : x\nword: a : y | (b b :)")) == {"a", "b b"}


def test_no_sentence_is_drawn_twice():
    sentences = distinct_sentences(parse_grammar("sentence: (a | b) (a | b) | c", "g"), random.Random(1))
    with pytest.raises(ValueError, match="hardly more than 5 sentences"):
        drawn = [next(sentences) for _ in range(5)]
        assert sorted(drawn) == ["a a", "a b", "b a", "b b", "c"]
        next(sentences)


def test_draws_are_accepted_by_the_compiled_grammar(tmp_path):
    text = "sentence: (a : x | ab /0.5){1,3} [c] | c+"
    grammar = compiled(tmp_path, text)
    assert all(accepts(grammar, LETTERS.encode(sentence)) for sentence in draws(text, 50))


def test_the_grammar_of_the_synthetic_corpus_compiles(tmp_path):
    """And accepts what the recipe draws from it."""
    path = ROOT / "recipes" / "librispeech" / "conf" / "synth_small.grammar"
    rules, rng = parse_grammar(path.read_text(), str(path)), random.Random(1)
    sentences = [draw_sentence(rules, rng) for _ in range(200)]
    tokenizer = write_lang(train_bpe(sentences, 100), tmp_path)
    grammar = read_grammar(path, tokenizer)
    assert all(accepts(grammar, tokenizer.encode(sentence)) for sentence in sentences[:20])
    assert not accepts(grammar, tokenizer.encode("turn the the"))
