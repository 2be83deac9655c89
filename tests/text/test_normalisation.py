"""The normalisation of a model's texts: chosen by name, stated in its files, the same everywhere."""

import json
import sys
from pathlib import Path

import pytest

from hainan_k2.formats.model_dir import read_model, write_model
from hainan_k2.lang import train_bpe, train_lm
from hainan_k2.named_functions import allow_function, is_function_name
from hainan_k2.text import Normalisation, Tokenizer
from tests.formats.small_models import small_model

TEXTS = ("Zwei Äpfel, bitte!", "Ich nehme 3 Äpfel.", "Bitte, bitte: Äpfel!")
RULES = """
def german(text):
    return text.lower().replace("3", "drei").translate({ord(c): None for c in ",.!:"})
def growing(text):
    return text + "x"
def number(text):
    return 3
def failing(text):
    raise KeyError(text)
constant = 7
"""


@pytest.fixture
def rules(tmp_path, monkeypatch):
    """The name of a module with RULES that no other test has imported, in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr("hainan_k2.named_functions._ALLOWED", {})
    name = f"rules_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(RULES)
    return name


def make_lang(folder, normalise):
    (folder / "text").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    options = ["--text", str(folder / "text"), "--vocab-size", "28", "--lang-dir", str(folder / "lang")]
    train_bpe.main([*options, "--normalise", normalise])
    return Tokenizer(folder / "lang")


@pytest.mark.parametrize(
    "name, text",
    [("english", "ich nehme three äpfel"), ("lower", "ich nehme 3 äpfel."), ("none", "Ich nehme 3 Äpfel.")],
)
def test_a_tokenizer_states_its_normalisation_and_keeps_it(tmp_path, name, text):
    tokenizer = make_lang(tmp_path, name)
    assert tokenizer.normalisation == name
    assert tokenizer.normalise(TEXTS[1]) == tokenizer.scoring(TEXTS[1]) == text
    assert name != "lower" or tokenizer.decode(tokenizer.encode(TEXTS[1])) == text
    write_model(tmp_path / "m", small_model(tokenizer.vocab_size), tokenizer, "float32", {})
    stated = json.loads((tmp_path / "m" / "config.json").read_text())["text"]
    assert stated == {"normalisation": name, **({"scoring": "none"} if name == "none" else {})}
    again = read_model(tmp_path / "m")[1]
    assert (again.normalisation, again.scoring.name) == (name, name)


def test_a_model_never_makes_a_program_import_its_function(tmp_path, rules):
    tokenizer = make_lang(tmp_path, f"{rules}:german")
    assert tokenizer.decode(tokenizer.encode(TEXTS[1])) == "ich nehme drei äpfel"
    write_model(tmp_path / "m", small_model(tokenizer.vocab_size), tokenizer, "float32", {})
    assert json.loads((tmp_path / "m" / "config.json").read_text())["text"] == {"normalisation": f"{rules}:german"}
    from hainan_k2 import named_functions

    named_functions._ALLOWED.clear()  # as in another program
    del sys.modules[rules]
    again = read_model(tmp_path / "m")[1]
    assert again.decode(tokenizer_ids := [*range(2, 6)]) == tokenizer.decode(tokenizer_ids)  # decoding needs no rules
    for use in (again.encode, again.normalise, again.scoring):
        with pytest.raises(ValueError, match=f"if you trust it, give --normalise {rules}:german, or call"):
            use("text")
    assert rules not in sys.modules
    allow_function(f"{rules}:german")
    assert again.normalise("3 Äpfel!") == again.scoring("3 Äpfel!") == "drei äpfel"


@pytest.mark.parametrize(
    "function, message",
    [
        ("growing", "growing changes its own result: 'a', 'ax'"),
        ("number", "number returns int for 'a', not a string"),
        ("failing", "failing fails for 'a': KeyError: 'a'"),
    ],
)
def test_functions_that_do_not_normalise(rules, function, message):
    allow_function(f"{rules}:{function}")
    with pytest.raises(ValueError, match=message):
        Normalisation(f"{rules}:{function}")("a")


def test_names_that_are_no_functions(rules):
    for name in (f"{rules}:lost", f"{rules}.lost:german", "absent_module:german"):
        with pytest.raises(ValueError, match=f"{name}: no such function"):
            allow_function(name)
    with pytest.raises(ValueError, match="is no function"):
        allow_function(f"{rules}:constant")
    Path(f"{rules}_failing.py").write_text("1 / 0\n")
    with pytest.raises(ValueError, match=f"importing {rules}_failing fails: ZeroDivisionError: division by zero"):
        allow_function(f"{rules}_failing:german")
    for name in ("", "klingon", "a:b:c", "a b:c", "a:b;c", "../a:b", ":b", "a:"):
        assert not is_function_name(name)
        with pytest.raises(ValueError, match="is not a function as module:function"):
            allow_function(name)
        with pytest.raises(ValueError, match="it is english, czech, .*, lower, none or module:function"):
            Normalisation(name)


def test_language_models_take_the_texts_of_the_tokenizer(tmp_path, rules, capsys):
    pytest.importorskip("kaldingram")
    make_lang(tmp_path, f"{rules}:german")
    options = ["--text", str(tmp_path / "text"), "--order", "1", "--arpa"]
    train_lm.main([*options, str(tmp_path / "tokens.arpa"), "--lang-dir", str(tmp_path / "lang")])
    train_lm.main([*options, str(tmp_path / "words.arpa"), "--normalise", f"{rules}:german"])
    words = (tmp_path / "words.arpa").read_text(encoding="utf-8")
    assert "\tdrei" in words and "\täpfel" in words and "three" not in words
    with pytest.raises(SystemExit):
        train_lm.main([*options, "x", "--lang-dir", str(tmp_path / "lang"), "--normalise", "lower"])
    assert f"--normalise lower: the tokenizer of {tmp_path}/lang has {rules}:german" in capsys.readouterr().err
