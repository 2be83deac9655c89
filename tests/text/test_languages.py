"""Texts of other languages than English: their letters are kept, and digits and signs become their words."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hainan_k2.text import Normalisation
from hainan_k2.text.languages import LANGUAGES
from hainan_k2.text.normalisation import BUILT_IN

WITHOUT_DIGITS = [
    ("german", "„Straße“, Öl (lacht) — geht's? 'S ist WARM!", "straße öl geht's 's ist warm"),
    ("french", "L’été : n'est-ce pas [bruit] « œuvre » ?", "l'été n'est ce pas œuvre"),
    ("spanish", "¡Mañana! ¿Qué “pingüino”?", "mañana qué pingüino"),
    ("italian", "Un po' d'acqua; perché 'no'? È così.", "un po' d'acqua perché no è così"),
    ("russian", "Замо́к — ёлка, Й; «Съешь»", "замок ёлка й съешь"),
    ("czech", "Příliš žlutý kůň… DĚLÁŤ?", "příliš žlutý kůň děláť"),
    ("dutch", "'t Is 's morgens een 'goed idee', één co\u00f6peratie", "'t is 's morgens een goed idee één coöperatie"),
]
WITH_DIGITS = [
    (
        "german",
        "1.250 Äpfel, 3,50 € (?) 007",
        "eintausendzweihundertfünfzig äpfel drei komma fünf null euro null null sieben",
    ),
    ("german", "seit 1985", "seit neunzehnhundertfünfundachtzig"),
    (
        "french",
        "Le 1er, la 1re, 21e; 1\u00a0250,5 %",
        "le premier la première vingt et unième mille deux cent cinquante virgule cinq pour cent",
    ),
    ("french", "Appuyez sur 5.", "appuyez sur cinq"),
    ("spanish", "La 1ª vez, el 3.º; 2 + 2 = 4", "la primera vez el tercero dos más dos igual a cuatro"),
    ("italian", "il 2º, la 3ª; 3,05", "il secondo la terza tre virgola zero cinque"),
    ("russian", "3-й день, 1 250 %", "третий день одна тысяча двести пятьдесят процентов"),
    ("czech", "Poseidon 737, LC-10", "poseidon sedmset třicet sedm lc deset"),
    ("dutch", "de 3e en 20ste in 1985", "de derde en twintigste in negentienhonderdvijfentachtig"),
    ("spanish", "1000000000000", "uno " + " ".join(["cero"] * 12)),
]


@pytest.mark.parametrize("name, text, normal", WITHOUT_DIGITS)
def test_letters_of_the_language_are_kept_and_signs_are_not(name, text, normal, monkeypatch):
    monkeypatch.setitem(sys.modules, "num2words", None)  # texts without digits need no library
    assert Normalisation(name)(text) == normal == Normalisation(name)(normal)


@pytest.mark.parametrize("name, text, normal", WITH_DIGITS)
def test_digits_and_signs_become_words(name, text, normal):
    pytest.importorskip("num2words")
    assert Normalisation(name)(text) == normal == Normalisation(name)(normal)


def test_without_the_library_a_text_with_digits_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "num2words", None)
    with pytest.raises(ValueError, match="^num2words, which spells the number 12 .* `pip install num2words`, or write"):
        Normalisation("german")("12 Monate")


@given(st.sampled_from(sorted(LANGUAGES)), st.text(max_size=40))
def test_a_normal_form_stays_as_it_is(name, text):
    pytest.importorskip("num2words")
    normal = LANGUAGES[name].normalise(text)
    assert LANGUAGES[name].normalise(normal) == normal
    assert not any(letter.isdecimal() or letter.isupper() for letter in normal)


@given(st.sampled_from(sorted(LANGUAGES)), st.text("0123456789.,-'() eaoªº%€+", max_size=30))
def test_every_number_is_read(name, text):
    pytest.importorskip("num2words")
    normal = LANGUAGES[name].normalise(text)
    assert LANGUAGES[name].normalise(normal) == normal
    assert not any(letter.isdecimal() for letter in normal)


@given(st.sampled_from(sorted(LANGUAGES)), st.integers(0, 10**12 - 1))
def test_whole_numbers_are_those_of_the_library(name, number):
    """Written plainly or with separators, a number has the library's words; years are another matter."""
    num2words = pytest.importorskip("num2words").num2words
    language = LANGUAGES[name]
    words = language.normalise(num2words(number, lang=language.code))
    if not (language.years and 1100 <= number < 2000):
        assert language.normalise(str(number)) == words
    assert language.normalise(f"{number:,}".replace(",", language.thousands)) == words


def test_every_language_is_a_normalisation():
    assert set(LANGUAGES) < set(BUILT_IN) and "english" not in LANGUAGES
