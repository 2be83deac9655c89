"""Language models over the words of a graph: scores, words that one of the two does not have, refusals."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.language.word_lm import WordLm
from tests.oracles.lm import DictionaryLm, language_models

WORDS = ("<eps>", "x", "y", "x z", "<UNK>", "#0", "<s>", "</s>")
USED = (-1, 0, 1, 2, 3, 4)
NAMES = {1: ["x"], 2: ["y"], 3: ["x", "z"], 4: ["<unk>"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("lm")


def follow(word_lm, labels):
    """The score of a sequence of output labels as a sentence."""
    states, total = torch.tensor([word_lm.lm.start]), 0.0
    for label in labels:
        scores, states = word_lm.advance(states, torch.tensor([label]))
        total += float(scores)
    return total + float(word_lm.lm.final(states))


@settings(max_examples=50, deadline=None)
@given(
    language_models(("<eps>", "<unk>", "x", "y", "z", "v"), complete=True), st.lists(st.sampled_from(USED), max_size=5)
)
def test_a_sentence_has_its_score(folder, lm, labels):
    """With words of the file that the graph does not have, labels of two words, and the graph's unknown word."""
    used = USED if ("<unk>",) in lm.ngrams else USED[:-1]
    labels = [label for label in labels if label in used]
    word_lm = WordLm.read(lm.write(folder / "words.arpa"), WORDS, used)
    words = [name for label in labels for name in NAMES.get(label, [])]
    assert follow(word_lm, labels) == pytest.approx(lm.score(words), abs=1e-4)
    assert word_lm.unknown == tuple(sorted(name for name in "xyz" if (name,) not in lm.ngrams))


def arpa(folder, *words):
    return DictionaryLm({(word,): (-1.0, 0.0) for word in words}).write(folder / "unigrams.arpa")


def test_words_that_the_file_does_not_have_are_refused_by_name(folder):
    with pytest.raises(ValueError, match=r"unigrams.arpa has neither <unk> nor 2 of the 3 words of the graph \(y z\):"):
        WordLm.read(arpa(folder, "<s>", "</s>", "x"), WORDS, USED[:-1])
    with pytest.raises(ValueError, match=r"has neither <unk> nor 1 of the 4 words of the graph \(<UNK>\):"):
        WordLm.read(arpa(folder, "<s>", "</s>", "x", "y", "z"), WORDS, USED)
    WordLm.read(arpa(folder, "<s>", "</s>", "x", "y", "z"), WORDS, USED[:-1])


def test_both_names_of_the_unknown_word(folder):
    scores = {}
    for name in ("<unk>", "<UNK>"):
        word_lm = WordLm.read(arpa(folder, "<s>", "</s>", "x", name), WORDS, USED)
        assert word_lm.unknown == ("y", "z")
        scores[name] = [follow(word_lm, [label]) for label in USED]
    assert scores["<unk>"] == scores["<UNK>"] and min(scores["<unk>"]) > -10


def test_a_file_without_end_of_sentences_is_refused(folder):
    with pytest.raises(ValueError, match="no sentence can end: the file has no unigram </s>"):
        WordLm.read(arpa(folder, "<s>", "x", "y", "z"), WORDS, USED[:-1])
