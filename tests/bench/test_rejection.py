"""bench.py rejection: the ROC of gaps, and the gaps of recordings."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hainan_k2 import bench
from hainan_k2.bench.rejection import Roc
from tests.toy import ROOT

JFK = str(ROOT / "tests" / "data" / "jfk.flac")
GAPS = st.lists(st.integers(0, 6).map(float) | st.just(math.inf), min_size=1, max_size=12)


@given(GAPS, GAPS, st.floats(0, 1))
def test_the_threshold_is_the_lowest_that_rejects_no_more(inside, outside, rate):
    roc = Roc(inside, outside)
    threshold = roc.threshold(rate)
    hopeless = inside.count(math.inf) / len(inside)
    assert roc.false_rejection(threshold) <= max(rate, hopeless) + 1e-9
    lower = [gap for gap in inside if gap < threshold]
    if lower and rate < 1:
        assert roc.false_rejection(max(lower)) > rate - 1e-9
    assert roc.false_acceptance(threshold) == pytest.approx(
        sum(gap <= threshold and gap != math.inf for gap in outside) / len(outside)
    )


def test_the_area_counts_pairs():
    assert Roc([0.0, 1.0], [2.0, 3.0]).area() == 1.0
    assert Roc([0.0, 2.0], [1.0, 2.0]).area() == pytest.approx((1 + 1 + 0 + 0.5) / 4)


def test_a_speech_is_in_its_own_grammar_and_not_among_digits(capsys, tmp_path):
    pytest.importorskip("k2")
    grammar = tmp_path / "own.grammar"
    grammar.write_text(
        "sentence: and so my fellow americans $word+\nword: ask not what | your country | can do | for you\n"
        "    | you | ask what\n"
    )
    for name, place in ((str(grammar), "--inside"), ("digits", "--outside")):
        bench.main(["rejection", "--grammar", name, "--inside", JFK, "--outside", JFK, "--device", "cpu"])
        title, _, *rows, last = capsys.readouterr().out.splitlines()
        assert title.startswith(f"{name}: 1 recordings inside, 1 outside; area under the ROC 0.5")
        (default,) = (row for row in rows if row.endswith("(default)"))
        accepted = default.split()[:3] == ["2.000", "0.0", "100.0"]
        assert accepted == (place == "--inside") and last.startswith("--grammar-threshold ")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "--grammar, --inside and --outside are required"),
        (["--grammar", "digits", "--inside", "none.wav", "--outside", JFK], "none.wav"),
    ],
)
def test_errors_are_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        bench.main(["rejection", *arguments])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and message in error and error.count("\n") == 1
