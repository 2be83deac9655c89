"""The normal form of text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.text.normalise import normalise, spell_number, spell_ordinal, spell_year


@pytest.mark.parametrize(
    "text, normal",
    [
        ("MR BROWN HASN'T SEEN MRS GREEN", "mister brown hasn't seen missus green"),
        ("  Wait...   what?!\n", "wait what"),
        ("twenty-one -- or so", "twenty one or so"),
        ("Don\u2019t! It\u2018s", "don't it's"),
        ("'Hello there,' he said, 'it's late'", "hello there he said it's late"),
        ("'Tis the boys' ball, get 'em", "'tis the boys' ball get 'em"),
        ("he said 'no'.", "he said no"),
        ("2'two'_ 'a 'b' c'", "two two a b c"),
        ("(sigh) oh [noise] <sil> well {cough (loud)}", "oh well"),
        ("<gulp>", ""),
        ("...", ""),
        ("' '", ""),
        ("", ""),
        ("rock & roll, 50%", "rock and roll fifty percent"),
        ("&#($!!, he got away!", "he got away"),
        ("@@ I think @@", "i think"),
        ("Treatment^_.", "treatment"),
        ("caf\u00e9 na\u00efve", "caf\u00e9 na\u00efve"),
        ("\uff21\uff22\uff23", "abc"),
        ("24 Hour", "twenty four hour"),
        ("2B or not 2B", "two b or not two b"),
        ("Model X7", "model x seven"),
        ("13th July, 1922", "thirteenth july nineteen twenty two"),
        ("the 1940's", "the nineteen forties"),
        ("'40s", "forties"),
        ("in 1905, 2005, 2010", "in nineteen oh five two thousand five twenty ten"),
        ("$1,250", "one thousand two hundred fifty dollars"),
        ("$2.50 and $1", "two dollars fifty and one dollar"),
        ("3.14", "three point one four"),
        ("007", "zero zero seven"),
        ("12,000", "twelve thousand"),
        ("10:30 or 10:05", "ten thirty or ten oh five"),
        ("at 7:00", "at seven o'clock"),
        ("19:00 Hours", "nineteen hundred hours"),
        ("1,2,3", "one two three"),
        ("5'10\"", "five ten"),
        ("1234567890123", "one two three four five six seven eight nine zero one two three"),
    ],
)
def test_normal_form(text, normal):
    assert normalise(text) == normal
    assert normalise(normal) == normal


ODD = st.sampled_from("aB '\u2019.,!?-_(<[])>{}&%+=@$\u00a3:0123456789st\u00e9\u0130\u00df\n")


@settings(deadline=None, max_examples=200)
@given(st.text(ODD | st.characters(), max_size=25))
def test_normal_form_is_stable_and_plain(text):
    normal = normalise(text)
    assert normalise(normal) == normal
    assert normal == " ".join(normal.split())
    assert not set(normal) & set("()[]<>.,!?-_&%$0123456789")


@pytest.mark.parametrize(
    "number, words",
    [
        (0, "zero"),
        (13, "thirteen"),
        (40, "forty"),
        (99, "ninety nine"),
        (100, "one hundred"),
        (342, "three hundred forty two"),
        (1000, "one thousand"),
        (12_005, "twelve thousand five"),
        (1_000_001, "one million one"),
        (999_000_000_999, "nine hundred ninety nine billion nine hundred ninety nine"),
    ],
)
def test_numbers(number, words):
    assert spell_number(number) == words


def test_ordinals_and_years():
    assert [spell_ordinal(n) for n in (1, 2, 3, 5, 8, 9, 12, 20, 21, 100)] == [
        "first",
        "second",
        "third",
        "fifth",
        "eighth",
        "ninth",
        "twelfth",
        "twentieth",
        "twenty first",
        "one hundredth",
    ]
    assert [spell_year(y) for y in (1100, 1776, 1901, 2000, 2009, 2024)] == [
        "eleven hundred",
        "seventeen seventy six",
        "nineteen oh one",
        "two thousand",
        "two thousand nine",
        "twenty twenty four",
    ]
    with pytest.raises(ValueError, match="1000000000000"):
        spell_number(10**12)
