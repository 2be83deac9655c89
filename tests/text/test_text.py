"""Normal form of text, and the tokenizer."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.text.tokenizer import Tokenizer, normalise, spell_number, spell_ordinal, spell_year

ROOT = Path(__file__).resolve().parents[2]


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


def train(folder, *args):
    return subprocess.run(
        [sys.executable, str(ROOT / "lang" / "train_bpe.py"), *args], cwd=folder, text=True, capture_output=True
    )


@pytest.fixture(scope="module")
def lang(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lang")
    (folder / "text").write_text("Turn on the light!\nTURN OFF the 2 fans\ncall anna\n\nthe don't light\n")
    done = train(folder, "--text", "text", "--vocab-size", "48", "--lang-dir", "out")
    assert done.returncode == 0, done.stderr
    return folder / "out"


def test_tokenizer(lang):
    tokenizer = Tokenizer(lang)
    assert tokenizer.vocab_size == 48 == len(tokenizer.pieces) and tokenizer.pieces[:2] == ["<blk>", "<unk>"]
    for text in ("turn the light off", "don't", "call the two fans"):
        ids = tokenizer.encode(text)
        assert all(1 < i < 48 for i in ids) and tokenizer.decode(ids) == text
        assert tokenizer.pieces[ids[0]].startswith("\u2581")
        assert tokenizer.decode([0, *ids, 0]) == text
    assert tokenizer.encode("") == [] and tokenizer.decode([]) == ""
    assert 1 in tokenizer.encode("quiz") and "<unk>" in tokenizer.decode(tokenizer.encode("quiz"))
    assert tokenizer.encode("turn") == Tokenizer(lang / "bpe.model").encode("turn")
    assert tokenizer.encode("TURN the 2 Lights...") == tokenizer.encode("turn the two lights")


def test_tokens_txt(lang):
    lines = [line.split() for line in (lang / "tokens.txt").read_text(encoding="utf-8").splitlines()]
    assert [piece for piece, _ in lines] == Tokenizer(lang).pieces
    assert [int(number) for _, number in lines] == list(range(48))


def test_text_of_cuts_without_its_copies_at_other_speeds(lang, tmp_path):
    from lhotse import CutSet, MonoCut, SupervisionSegment

    def cut(name, text):
        segment = SupervisionSegment(id=name, recording_id=name, start=0, duration=1, text=text)
        return MonoCut(id=name, start=0, duration=1, channel=0, supervisions=[segment])

    said = ["Turn on the light!", "TURN OFF the 2 fans", "call anna", "the don't light"]
    cuts = [cut(f"u{i}", text) for i, text in enumerate(said)]
    cuts += [cut(f"u{i}_sp0.9", "zebra") for i in range(3)]
    CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl.gz")
    done = train(tmp_path, "--cuts", "cuts.jsonl.gz", "--vocab-size", "48", "--lang-dir", "out")
    assert done.returncode == 0, done.stderr
    assert Tokenizer(tmp_path / "out").pieces == Tokenizer(lang).pieces


@pytest.mark.parametrize(
    "args, words",
    [
        (["--vocab-size", "4000"], "vocabulary size 4000 does not fit this text: Vocabulary size too high"),
        (["--vocab-size", "5"], "vocabulary size 5 does not fit this text"),
        (["--text", "absent"], "No such file"),
        (["--text", "empty"], "no text to train a tokenizer on"),
    ],
)
def test_bad_requests_end_with_one_line(tmp_path, args, words):
    (tmp_path / "text").write_text("turn on the light\n")
    (tmp_path / "empty").write_text("...\n")
    done = train(tmp_path, "--text", "text", "--lang-dir", "out", *args)
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_no_tokenizer(tmp_path):
    with pytest.raises(ValueError, match="no tokenizer at .*bpe.model: make one with"):
        Tokenizer(tmp_path)
