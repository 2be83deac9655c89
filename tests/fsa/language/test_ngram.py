import gzip
import math
import random
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.language.arpa import MAX_ORDER
from hainan_k2.fsa.language.ngram import NgramLm
from tests.oracles.lm import SYMBOLS, DictionaryLm, language_models

ARPA = """
written by hand
\\data\\
ngram 1=5
ngram 2=4
ngram 3=2

\\1-grams:
-99\t<s>\t-0.3
-0.5\t▁a\t-0.2
-0.6\tb\t0.1
-0.7\t▁c\t0
-0.8\t</s>

\\2-grams:
-0.4\t<s> ▁a\t-0.1
-0.3\t▁a b\t0
-0.2\tb </s>
-0.9\t▁c b\t-0.4

\\3-grams:
-0.15\t<s> ▁a b
-0.25\t▁a b </s>

\\end\\
"""


@pytest.fixture
def arpa(tmp_path):
    """Writes ARPA, or what a function makes of it, and reads it."""

    def read(change=lambda text: text, symbols=SYMBOLS):
        path = tmp_path / "lm.arpa"
        path.write_text(change(ARPA), encoding="utf-8")
        return NgramLm.read(str(path), symbols)

    return read


def ids(words):
    return [SYMBOLS.index(word) for word in words.split()]


def test_a_file_written_by_hand(arpa):
    lm = arpa()
    assert lm.order == 3 and lm.missing == ("<unk>", "d", "e")
    assert lm.num_states == 8  # the empty history, <s>, ▁a, b, ▁c, <s> ▁a, ▁a b, ▁c b
    expected = {
        "▁a b": -0.4 - 0.15 - 0.25,
        "b": -0.3 - 0.6 - 0.2,
        "▁c b": (-0.3 - 0.7) - 0.9 + (-0.4 - 0.2),
        "b b": (-0.3 - 0.6) + (0.1 - 0.6) - 0.2,
        "": -0.3 - 0.8,
        "d": -math.inf,
    }
    scores = lm.score([ids(words) for words in expected])
    assert scores.tolist() == pytest.approx([math.log(10.0) * score for score in expected.values()], rel=1e-6)
    assert lm.score([]).shape == (0,)


@settings(max_examples=80, deadline=None)
@given(language_models(), st.data())
def test_back_off_equals_the_dictionary(tmp_path_factory, reference, data):
    path = reference.write(tmp_path_factory.mktemp("lm") / "lm.arpa", drop_useless=data.draw(st.booleans()))
    lm = NgramLm.read(path, SYMBOLS)
    token = st.integers(1, len(SYMBOLS) - 1)
    sentences = data.draw(st.lists(st.lists(token, max_size=6), min_size=1, max_size=12))
    expected = [reference.score([SYMBOLS[i] for i in sentence]) for sentence in sentences]
    assert lm.score(sentences).tolist() == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert lm.missing == tuple(s for s in SYMBOLS[1:] if reference.log_prob((), s) == -math.inf)
    assert lm.num_states <= 1 + sum(len(ngram) < lm.order for ngram in reference.ngrams)
    assert lm.order == reference.order


@pytest.mark.parametrize("vocabulary", [4, 30])
def test_a_model_that_kaldingram_made(tmp_path, vocabulary):
    """Of few words, it has histories without back-off weights: every word follows them."""
    command = Path(sys.executable).with_name("kaldingram")
    if not command.exists():
        pytest.skip("no kaldingram")
    rng, text, path = random.Random(0), tmp_path / "text", str(tmp_path / "lm.arpa")
    symbols = ["<blk>", "<unk>", *(f"▁{i}" for i in range(vocabulary)), "▁other"]
    lines = [list(range(2, 2 + vocabulary))]
    lines += [[2 + rng.randrange(1 + rng.randrange(vocabulary)) for _ in range(rng.randint(1, 9))] for _ in range(300)]
    text.write_text("".join(" ".join(symbols[i] for i in line) + "\n" for line in lines), encoding="utf-8")
    subprocess.run([command, "train", "--ngram-order", "4", "--text", text, "--lm", path], check=True)
    lm, reference = NgramLm.read(path, symbols), DictionaryLm.read(path)
    assert lm.missing == ("<unk>", "▁other")
    expected = [reference.score([symbols[i] for i in line]) for line in lines]
    assert lm.score(lines).tolist() == pytest.approx(expected, rel=1e-5)

    states = torch.arange(lm.num_states)
    log_probs, following = lm.advance(states, torch.full_like(states, len(symbols) - 1))
    assert log_probs.isneginf().all() and following.tolist() == [0] * lm.num_states
    if vocabulary == 30:  # every state is a probability distribution
        mass = sum(lm.advance(states, torch.full_like(states, i))[0].exp() for i in range(2, 32))
        assert (mass + lm.final(states).exp()).tolist() == pytest.approx([1.0] * lm.num_states, abs=1e-4)


def test_compressed_files_and_unknown_tokens(arpa, tmp_path):
    path = tmp_path / "lm.arpa.gz"
    path.write_bytes(gzip.compress(ARPA.replace("▁c", "<unk>").encode()))
    lm = NgramLm.read(str(path), SYMBOLS)
    assert lm.missing == ()
    scores = lm.score([ids("<unk> b"), ids("d b"), ids("▁c b")]).tolist()
    assert scores == [scores[0]] * 3 and scores[0] > -math.inf
    assert lm.score([ids("d b")]).tolist() == pytest.approx([math.log(10.0) * (-0.3 - 0.7 - 0.9 - 0.4 - 0.2)])
    without = NgramLm.read(str(path), [s for s in SYMBOLS if s != "<unk>"])
    assert without.score([[5, 2]]).tolist() == pytest.approx(scores[:1])


def test_without_an_end_final_scores_are_minus_infinity(arpa):
    lm = arpa(lambda text: text.replace("</s>", "d"))
    assert lm.final(torch.arange(lm.num_states)).isneginf().all()


@pytest.mark.parametrize(
    "old, new, message",
    [
        (ARPA, "", ":1: the file is empty"),
        ("\\data\\", "", r":1: no \\data\\ line"),
        ("ngram 1=5", "", ":5: expected 'ngram 1=COUNT', got 'ngram 2=4'"),
        ("ngram 2=4", "ngram 2=5", ":15: 4 2-grams follow, the header says 5"),
        ("ngram 1=5\nngram 2=4\nngram 3=2\n", "", ":3: no line 'ngram 1=COUNT' follows"),
        ("\\2-grams:", "\\3-grams:", r":15: expected \\2-grams:, got '\\\\3-grams:'"),
        ("\\end\\", "", r":25: the file ends before \\end\\"),
        (ARPA[ARPA.index("\\3-g") :], "", r":20: the file ends before \\3-grams:"),
        ("-0.5\t▁a", "-0.5\tx", ":10: 'x' is not a token of the model"),
        ("-0.5\t", "half\t", ":10: log-probability 'half' is not a finite number"),
        ("-0.5\t", "nan\t", ":10: log-probability 'nan' is not a finite number"),
        ("-0.5\t", "-inf\t", ":10: log-probability '-inf' is not a finite number"),
        ("-0.5\t", "0.5\t", ":10: log-probability '0.5' is above 0"),
        ("\t-0.2\n", "\tlow\n", ":10: back-off weight 'low' is not a finite number"),
        ("\t-0.2\n", "\tnan\n", ":10: back-off weight 'nan' is not a finite number"),
        ("-0.5\t▁a\t-0.2", "-0.5", ":10: '-0.5' is not an entry of 1 words"),
        ("-0.5\t▁a\t-0.2", "-0.5\t▁a\t-0.2\t1", "is not an entry of 1 words"),
        ("<s> ▁a b", "<s> ▁a b\t-1", ":22: back-off weight '-1' of an 3-gram, the highest order"),
        ("-0.5\t", "-1e308\t", ":10: '-1e308' is below -1000, the log of 0 is -99"),
        ("\t-0.2\n", "\t-1e308\n", ":10: '-1e308' is below -1000, the log of 0 is -99"),
        ("\t-0.2\n", "\t1e308\n", ":10: back-off weight '1e308' is above 10"),
        ("ngram 2=4", f"ngram 2={'4' * 5000}", ":5: expected 'ngram 2=COUNT', got 'ngram 2=4444"),
        ("ngram 2=4", f"ngram {'2' * 5000}=4", ":5: expected 'ngram 2=COUNT', got 'ngram 2222"),
        ("▁a\t-0.2", "▁a", ":10: this 1-gram begins longer ones but has no back-off weight"),
        ("▁a b\t0", "▁a b", ":17: this 2-gram begins longer ones but has no back-off weight"),
        ("▁a b </s>", "b b </s>", ":23: this 3-gram has no history"),
        ("▁c b\t", "▁a b\t", ":19: this 2-gram is in the file twice"),
    ],
)
def test_errors_name_the_line(arpa, old, new, message):
    assert old in ARPA
    with pytest.raises(ValueError, match=message) as error:
        arpa(lambda text: text.replace(old, new, 1))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "order, message",
    [
        (MAX_ORDER, "5 1-grams follow, the header says 0"),
        (MAX_ORDER + 1, ":24: 21-grams: models of order 20 at most are read"),
        (500, ":24: 21-grams: models of order 20 at most are read"),
    ],
)
def test_the_order_is_limited(arpa, order, message):
    """Every order takes time: 500 of them took a minute."""
    header = "".join(f"ngram {n}=0\n" for n in range(1, order + 1))
    with pytest.raises(ValueError, match=message):
        arpa(lambda text: text[: text.index("ngram 1")] + header + text[text.index("\n\\1-") :])


@pytest.mark.parametrize("place", ["-0.5\t▁a\t-0.2", "ngram 2=4", "\\2-grams:", "<s> ▁a b"])
def test_a_long_line_costs_no_memory(tmp_path, place):
    """It is refused for a few times the memory of the file, whatever it holds."""
    path, long = tmp_path / "lm.arpa", " ".join(["ab"] * 1_000_000)
    assert place in ARPA
    path.write_text(ARPA.replace(place, f"{place} {long}", 1), encoding="utf-8")
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"lm.arpa:\d+: ") as error:
            NgramLm.read(str(path), SYMBOLS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(str(error.value)) < 400 and peak < 5 * len(long)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ValueError, match="nowhere: No such file"):
        NgramLm.read(str(tmp_path / "nowhere"), SYMBOLS)
    broken = tmp_path / "lm.arpa.gz"
    broken.write_bytes(gzip.compress(ARPA.encode())[:-20])
    with pytest.raises(ValueError, match="lm.arpa.gz: "):
        NgramLm.read(str(broken), SYMBOLS)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(ARPA) - 1), st.integers(0, 3), st.binary(max_size=3))
def test_mutated_files_are_read_or_refused_in_one_line(tmp_path_factory, at, length, new):
    path = tmp_path_factory.getbasetemp() / "mutated.arpa"
    data = ARPA.encode()
    path.write_bytes(data[:at] + new + data[at + length :])
    try:
        lm = NgramLm.read(str(path), SYMBOLS)
    except ValueError as error:
        assert str(error).startswith(f"{path}:") and "\n" not in str(error)
    else:
        assert not lm.score([ids("▁a b ▁c"), ids("d")]).isnan().any()
