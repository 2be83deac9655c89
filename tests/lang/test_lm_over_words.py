"""Language models over words, from text to search: pruning, interpolation, and files that --lm and --lodr-lm take."""

import pytest
import torch

from hainan_k2.fsa.language.lm_file import read_lm
from hainan_k2.fsa.language.lookahead_lm import LookaheadLm
from hainan_k2.fsa.language.ngram import NgramLm
from hainan_k2.fsa.language.scorers import WeightedScorers
from hainan_k2.search import DecodingResources, SearchConfig
from hainan_k2.search.resources import ResourceConfig, load_resources
from hainan_k2.search.viterbi_lm import viterbi_lm
from hainan_k2.text import Tokenizer
from tests.lang.conftest import succeed
from tests.oracles.lm import DictionaryLm
from tests.oracles.search import Speaker, encoder_output


def read(path, tokenizer):
    return read_lm(path, tokenizer.pieces, tokenizer.encode)


def test_a_word_model_scores_texts_as_its_words(lang):
    tokenizer, words = Tokenizer(lang), DictionaryLm.read(lang / "words.arpa")
    lm = read(lang / "words.arpa", tokenizer)
    texts = (lang / "train.txt").read_text().splitlines()[:20]
    scores = lm.score([tokenizer.encode(text) for text in texts])
    assert scores.tolist() == pytest.approx([words.score(text.split()) for text in texts], abs=1e-4)


def test_a_pruned_word_model_is_read_without_a_tokenizer(lang, tmp_path):
    out, tokenizer = tmp_path / "words.safetensors", Tokenizer(lang)
    common = ("--arpa", lang / "words.arpa", "--lang-dir", lang, "--out", out)
    assert "perplexity" in succeed("prune_lm", *common, "--test", lang / "test.txt")
    whole, written = read(lang / "words.arpa", tokenizer), read_lm(out, tokenizer.pieces)
    assert isinstance(written, LookaheadLm) and written.num_arcs == whole.num_arcs
    wanted = whole.lm.num_words + 5
    succeed("prune_lm", *common, "--ngrams", wanted)
    assert whole.lm.num_words < read_lm(out, tokenizer.pieces).num_arcs <= wanted < whole.num_arcs


def test_word_models_are_interpolated(lang, tmp_path):
    """Of two equal models the mixture is the same one; a word that words.txt lacks is named and left out."""
    out, arpa = tmp_path / "mix.arpa", lang / "words.arpa"
    (tmp_path / "dev.txt").write_text((lang / "test.txt").read_text() + "zzyzx\n")
    common = ("--arpa", f"{arpa},{arpa}", "--words", lang / "words.txt", "--out", out)
    shown = succeed("interpolate_lm", *common, "--tune", tmp_path / "dev.txt")
    assert "0.500" in shown and "1 words of the text that weights are tuned on are not in" in shown and "zzyzx" in shown
    before, after = DictionaryLm.read(arpa), DictionaryLm.read(out)
    assert set(before.ngrams) == set(after.ngrams)
    assert all(
        after.log_prob(n[:-1], n[-1]) == pytest.approx(before.log_prob(n[:-1], n[-1]), abs=1e-4)
        for n in before.ngrams
        if n != ("<s>",)
    )


def test_bad_options_of_interpolate_lm(lang, tmp_path, refuse):
    arpa = lang / "words.arpa"
    common = ("--arpa", f"{arpa},{arpa}", "--out", tmp_path / "mix.arpa", "--weights", "0.5,0.5")
    for both in ((), ("--lang-dir", lang, "--words", lang / "words.txt")):
        assert "give --lang-dir for models over tokens, or --words" in refuse("interpolate_lm", *common, *both)
    assert "is not a token of the model" in refuse("interpolate_lm", *common, "--lang-dir", lang)
    assert not list(tmp_path.iterdir())


def test_which_models_the_options_take(lang, caplog):
    tokenizer = Tokenizer(lang)
    words = load_resources(ResourceConfig(lm=str(lang / "words.arpa")), tokenizer)
    assert isinstance(words.lm, LookaheadLm) and words.given() == ("lm",)
    tokens = load_resources(ResourceConfig(lodr_lm=str(lang / "tokens.arpa")), tokenizer)
    assert isinstance(tokens.lodr_lm, NgramLm)
    with pytest.raises(ValueError, match="words.arpa is a language model over words: --lodr-lm takes one over tokens"):
        load_resources(ResourceConfig(lodr_lm=str(lang / "words.arpa")), tokenizer)
    assert not caplog.records


def test_words_without_a_spelling_are_reported(lang, tmp_path, caplog):
    tokenizer, lm = Tokenizer(lang), DictionaryLm.read(lang / "words.arpa")
    lm.ngrams[("жук",)] = (-3.0, 0.0)
    load_resources(ResourceConfig(lm=lm.write(tmp_path / "more.arpa")), tokenizer)
    (record,) = caplog.records
    known = len([n for n in lm.ngrams if len(n) == 1]) - 2
    assert record.getMessage() == (
        f"{tmp_path / 'more.arpa'}: 1 of {known} words have no spelling of their own (жук): they count as unknown"
    )


def test_too_many_states_are_refused():
    """The states of several models are one number, which has 63 bits."""

    class Huge:
        start, num_states = 0, 2**61

        def to(self, device):
            return self

    model, (encoded, lens) = Speaker(0), encoder_output(0, [4, 3, 2, 4])
    with pytest.raises(ValueError, match=r"2.3e\+18 states together, times 4 utterances.*prune them"):
        viterbi_lm(model, encoded, lens, SearchConfig(lm_scale=1.0), DecodingResources(lm=Huge()))
    with pytest.raises(ValueError, match=r"5.3e\+36 states together, times 1 utterances"):
        WeightedScorers([(Huge(), 1.0), (Huge(), 0.5)], torch.device("cpu"))
