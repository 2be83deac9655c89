"""Language models over words as automata over tokens, against scores of whole words."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.language.lm_file import read_lm, write_lm
from hainan_k2.fsa.language.lookahead_lm import LookaheadLm
from hainan_k2.fsa.language.ngram import NgramLm
from hainan_k2.fsa.language.pruning import prune
from hainan_k2.fsa.language.scorers import WeightedScorers
from tests.oracles.lm import DictionaryLm, language_models
from tests.oracles.words import Spelling

PIECES = ("<blk>", "<unk>", "▁", "▁n", "▁y", "e", "w", "s")
WORDS = ("new", "news", "n", "y", "yes")  # prefixes of each other; the tokens cannot spell "y"
SPELLED = {"new": "▁n e w", "news": "▁n e w s", "n": "▁n", "yes": "▁y e s"}
sentences = st.lists(st.integers(1, len(PIECES) - 1), max_size=8)


def ids_of(spelling):
    return [PIECES.index(piece) for piece in spelling.split()]


def encode(word):
    return ids_of(SPELLED.get(word, "▁ <unk>"))


SPELLING = Spelling({word: encode(word) for word in SPELLED}, PIECES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("lm")


models = language_models(("<eps>", "<unk>", *WORDS)).filter(lambda lm: any((word,) in lm.ngrams for word in SPELLED))


@settings(max_examples=100, deadline=None)
@given(models, sentences)
def test_a_sentence_has_the_score_of_its_words(folder, dictionary, ids):
    """Also sentences that begin within a word, and words that are part of others."""
    lm = read_lm(dictionary.write(folder / "words.arpa"), PIECES, encode)
    assert isinstance(lm, LookaheadLm)
    expected = SPELLING.score(SPELLING.with_unknown(dictionary), ids)
    assert float(lm.score([ids, []])[0]) == pytest.approx(expected, abs=1e-4)


@settings(max_examples=50, deadline=None)
@given(models, sentences)
def test_its_file_is_read_as_it_was_written(folder, dictionary, ids):
    lm = read_lm(dictionary.write(folder / "words.arpa"), PIECES, encode)
    write_lm(folder / "words.safetensors", lm, PIECES)
    read = read_lm(folder / "words.safetensors", PIECES)
    assert isinstance(read, LookaheadLm) and read.spellings == lm.spellings
    assert (read.num_arcs, read.num_states, read.start) == (lm.num_arcs, lm.num_states, lm.start)
    torch.testing.assert_close(read.score([ids]), lm.score([ids]), atol=1e-4, rtol=1e-4)


@settings(max_examples=50, deadline=None)
@given(models, sentences, st.integers(0, 8))
def test_the_look_ahead_is_the_best_word_that_may_come(folder, dictionary, ids, cut):
    """What a prefix has scored is its complete words, and the best unigram of the words that it may become."""
    ids = ids[:cut]
    lm = read_lm(dictionary.write(folder / "words.arpa"), PIECES, encode)
    state, total = torch.tensor([lm.start]), 0.0
    for id in ids:
        score, state = lm.advance(state, torch.tensor([id]))
        total += float(score)
    *complete, (_, begun) = SPELLING.words(ids) or [(None, ())]
    reachable = [w for w, ids in SPELLING.spelled.items() if (w,) in dictionary.ngrams and ids[: len(begun)] == begun]
    dictionary = SPELLING.with_unknown(dictionary)
    history, expected = ("<s>",), 0.0
    for word, part in complete:
        unknown = 0 if SPELLING.known(dictionary, word) else len(part)
        expected += dictionary.log_prob(history, word or "<unk>") + SPELLING.per_token * unknown
        history += (word or "<unk>",)
    if begun:
        best = max((dictionary.log_prob((), word) for word in reachable), default=None)
        expected += SPELLING.per_token * len(begun) if best is None else best
    assert total == pytest.approx(expected, abs=1e-4)


def arpa(folder, *words, name="unigrams.arpa"):
    probabilities = {word: -1.0 - 0.1 * i for i, word in enumerate(words)}
    return DictionaryLm({(word,): (p, 0.0) for word, p in probabilities.items()}).write(folder / name)


def test_a_search_takes_it_with_another_scorer(folder):
    """States of both in one number, as for hotwords."""
    words = read_lm(arpa(folder, "<s>", "</s>", "new", "yes"), PIECES, encode)
    tokens = read_lm(arpa(folder, "<s>", "</s>", *PIECES[2:], name="tokens.arpa"), PIECES, encode)
    assert isinstance(tokens, NgramLm)
    both = WeightedScorers([(words, 0.7), (tokens, 0.2)], torch.device("cpu"))
    ids = ids_of("▁n e w ▁y e s")
    states, total = torch.tensor([both.start]), 0.0
    for id in ids:
        score, states = both.advance(states, torch.tensor([id]))
        total += float(score)
    total += float(both.final(states))
    assert total == pytest.approx(0.7 * float(words.score([ids])) + 0.2 * float(tokens.score([ids])), abs=1e-5)


def test_which_files_are_over_words(folder):
    assert isinstance(read_lm(arpa(folder, "<s>", "</s>", "▁n", "e"), PIECES, encode), NgramLm)
    assert isinstance(read_lm(arpa(folder, "<s>", "</s>", "e", "w"), PIECES, encode), NgramLm)  # all are tokens
    assert isinstance(read_lm(arpa(folder, "<s>", "</s>", "e", "new"), PIECES, encode), LookaheadLm)
    with pytest.raises(ValueError, match=r"arpa:8: '▁x' is not a token of the model"):
        read_lm(arpa(folder, "<s>", "</s>", "▁n", "▁x"), PIECES, encode)
    with pytest.raises(ValueError, match=r"arpa:7: 'new' is not a token of the model"):
        read_lm(arpa(folder, "<s>", "</s>", "new"), PIECES)  # nobody to spell words
    with pytest.raises(ValueError, match=r"arpa:7: 'new' is not a token of the model"):
        read_lm(arpa(folder, "<s>", "</s>", "new"), ["<blk>", "a", "b"], encode)  # no token starts a word


def test_words_without_a_spelling_of_their_own_are_named(folder):
    """Not in the tokens, several words in the normal form, the same as a more probable word."""
    spellings = {"new": "▁n e w", "New": "▁n e w", "é": "<unk>", "n.y.": "▁n ▁y", "": ""}
    lm = read_lm(arpa(folder, "<s>", "</s>", "New", "new", "é", "n.y."), PIECES, lambda word: ids_of(spellings[word]))
    assert sorted(lm.left_out) == ["n.y.", "new", "é"]
    assert float(lm.score([ids_of("▁n e w")])) == pytest.approx(-2.3 * math.log(10))  # New: 1.2, </s>: 1.1


def test_files_without_words_are_refused(folder):
    with pytest.raises(ValueError, match="unigrams.arpa: it has no word that the tokenizer can spell"):
        read_lm(arpa(folder, "<s>", "</s>", "é", "à"), PIECES, encode)
    path = folder / "latin.arpa"
    path.write_bytes(open(arpa(folder, "<s>", "</s>", "new", "é"), "rb").read().replace("é".encode(), b"\xe9"))
    with pytest.raises(ValueError, match=r"latin.arpa:8: b'\\xe9' is not UTF-8 text"):
        read_lm(path, PIECES, encode)


@pytest.mark.parametrize(
    "name, change, complaint",
    [
        ("spelled", lambda x: x + 1000, "no word of the 8 tokens"),
        ("spelled", lambda x: x * 0 + x[0], "two spellings"),
        ("spelled", lambda x: x[:0], "do not fit"),
        ("lengths", lambda x: x * 0, "do not fit"),
        ("lengths", lambda x: x + 1, "do not fit"),
        ("spellings", lambda x: x.flip(0), "no word of the 8 tokens"),
        ("spellings", lambda x: x + 100, "no word of the 8 tokens"),
        ("spellings", lambda x: x[None], "do not fit"),
        ("spellings", lambda x: x[:3].repeat(2), "two words that are spelled alike"),
    ],
)
def test_damaged_spellings_are_refused(folder, name, change, complaint):
    from hainan_k2.files.container import read_container, write_container
    from hainan_k2.fsa.language.lm_file import KIND

    path = folder / "damaged.safetensors"
    write_lm(path, read_lm(arpa(folder, "<s>", "</s>", "new", "yes"), PIECES, encode), PIECES)
    tensors, facts = read_container(path, KIND)
    write_container(path, KIND, {**tensors, name: change(tensors[name]).contiguous()}, facts)
    with pytest.raises(ValueError, match=complaint) as raised:
        read_lm(path, PIECES)
    assert str(path) in str(raised.value) and len(str(raised.value).splitlines()) == 1


def test_pruning_keeps_words_and_spellings(folder):
    ngrams = {(word,): (-1.0, -0.3) for word in ("<s>", "</s>", *WORDS)}
    ngrams.update({(a, b): (-0.2 - 0.1 * i, 0.0) for i, a in enumerate(WORDS) for b in WORDS[:3]})
    lm = read_lm(DictionaryLm(ngrams).write(folder / "bigrams.arpa"), PIECES, encode)
    pruned = lm.pruned(lm.lm.num_words + 4)
    assert pruned.spellings == lm.spellings
    assert lm.lm.num_words < pruned.num_arcs <= lm.lm.num_words + 4 < lm.num_arcs
    assert torch.equal(pruned.look, lm.look)
    expected = prune(lm.lm, lm.lm.num_words + 4)
    assert torch.equal(pruned.lm.keys, expected.keys) and torch.equal(pruned.lm.log_probs, expected.log_probs)
