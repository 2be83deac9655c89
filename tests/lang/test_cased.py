"""Imported tokenizers take text as it is written: model directories, language models, lexicons, hotwords, grammars."""

import json

import pytest

from hainan_k2.formats.model_dir import read_model, write_model
from hainan_k2.fsa.language.hotword_list import read_phrases
from hainan_k2.fsa.language.ngram import NgramLm
from hainan_k2.fsa.language.spelling import Speller
from hainan_k2.lang import make_lexicon, train_lm
from hainan_k2.text.imported import import_sentencepiece
from hainan_k2.text.tokenizer import Tokenizer
from tests.formats.small_models import small_model
from tests.text.pieces import TEXTS, sentencepiece_model


@pytest.fixture(scope="module")
def cased(tmp_path_factory):
    """A model directory with an imported tokenizer."""
    tokenizer = import_sentencepiece(sentencepiece_model(), "tokenizer.model")
    folder = tmp_path_factory.mktemp("cased") / "model"
    write_model(folder, small_model(tokenizer.vocab_size), tokenizer, "float32", {})
    return folder


def test_the_model_directory_states_the_normalisation_of_text(cased):
    _, tokenizer, _ = read_model(cased)
    assert tokenizer.decode(tokenizer.encode(TEXTS[0])) == TEXTS[0]
    config = json.loads((cased / "config.json").read_text())
    assert config["text"] == {"normalisation": "none"}
    lines = (cased / "tokens.txt").read_text(encoding="utf-8").splitlines()
    assert [line.rsplit(" ", 1)[0] for line in lines] == tokenizer.pieces
    for text in ({"normalisation": "english"}, None, 3):
        other = cased.parent / "other"
        write_model(other, small_model(tokenizer.vocab_size), tokenizer, "float32", {})
        (other / "config.json").write_text(json.dumps({**config, "text": text}))
        with pytest.raises(ValueError, match='config.json: text is .*, bpe.model takes {"normalisation": "none"}'):
            read_model(other)


def test_a_model_directory_of_an_older_version_says_nothing(toy, tmp_path):
    tokenizer = Tokenizer(toy / "lang")
    write_model(tmp_path / "m", small_model(tokenizer.vocab_size), tokenizer, "float32", {})
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert config.pop("text") == {"normalisation": "english"}
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    assert read_model(tmp_path / "m")[1].normalisation == "english"


def test_hotwords_and_grammar_words_are_taken_as_they_are_written(cased, tmp_path):
    tokenizer = Tokenizer(cased)
    (tmp_path / "hotwords").write_text("Dr. Smith :2\nCALL me\n")
    phrases = read_phrases(tmp_path / "hotwords", tokenizer)
    assert [tokenizer.decode(ids) for ids in phrases] == ["Dr. Smith", "CALL me"]
    speller = Speller(tokenizer)
    assert speller.text(speller.spell("Light!")) == "Light!" and speller.spell("Light!") != speller.spell("light!")


def test_language_models_and_lexicons_have_the_models_casing(cased, tmp_path):
    pytest.importorskip("kaldingram")
    (tmp_path / "text").write_text("\n".join(TEXTS) + "\n")
    train_lm.main(
        ["--text", str(tmp_path / "text"), "--lang-dir", str(cased), "--order", "1", "--arpa", str(tmp_path / "a.arpa")]
    )
    tokenizer = Tokenizer(cased)
    used = {tokenizer.pieces[i] for text in TEXTS for i in tokenizer.encode(text)}
    assert {"T", "!", "."} & used
    unigrams = (tmp_path / "a.arpa").read_text(encoding="utf-8").split("\\1-grams:")[1]
    weights = {line.split()[1]: float(line.split()[0]) for line in unigrams.splitlines() if len(line.split()) > 1}
    unseen = set(tokenizer.pieces[1:]) - used
    assert min(weights[piece] for piece in used) > max(weights[piece] for piece in unseen)
    make_lexicon.main(["--text", str(tmp_path / "text"), "--lang-dir", str(cased)])
    words = {line.split()[0] for line in (cased / "words.txt").read_text(encoding="utf-8").splitlines()}
    assert {"Turn", "Light!", "CALL", "don't"} <= words
    assert NgramLm.read(str(tmp_path / "a.arpa"), tokenizer.pieces).order == 1
