"""Calibrations: a map that rises, by hand and as stored; what it changes of a hypothesis."""

import json
import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hainan_k2.confidence import EDGE, Calibration
from hainan_k2.result import Hypothesis, Token

PIECES = ["<blk>", "▁a", "▁b"]


def test_by_hand():
    same = Calibration(1.0, 1.0, 0.0)
    assert same(0.3) == pytest.approx(0.3)
    assert Calibration(0.5, 0.5, 0.0)(0.9) == pytest.approx(3 / 4)  # odds of 9 to 1 become 3 to 1
    assert Calibration(1.0, 1.0, math.log(2))(0.5) == pytest.approx(2 / 3)
    assert Calibration(2.0, 1.0, 0.0)(0.8) == pytest.approx(0.64 / (0.64 + 0.2))
    assert Calibration(1.0, 2.0, 0.0)(0.8) == pytest.approx(0.8 / (0.8 + 0.04))
    assert same(1.0) == pytest.approx(1 - EDGE) and same(0.0) == pytest.approx(EDGE)


SLOPE = st.floats(0, 100)


@given(SLOPE, SLOPE, st.floats(-100, 100), st.floats(0, 1), st.floats(0, 1))
def test_it_rises_within_0_and_1(low, high, offset, first, second):
    calibration, (lower, higher) = Calibration(low, high, offset), sorted((first, second))
    assert 0 <= calibration(lower) <= calibration(higher) <= 1


def test_words_and_alternatives_change_and_tokens_stay():
    one = Hypothesis((Token(1, 0, 1, 0.9), Token(2, 1, 1, 0.5)), 0.0, 3)
    hypothesis = replace(one, alternatives=(one, Hypothesis((Token(2, 0, 1, 0.9),), -1.0, 3))).with_words(PIECES)
    changed = Calibration(0.5, 0.5, 0.0).applied(hypothesis)
    assert [word.confidence for word in changed.words] == pytest.approx([0.75, 0.5])
    assert [[w.confidence for w in h.words] for h in changed.alternatives] == [pytest.approx([0.75, 0.5]), [0.75]]
    assert changed.tokens == hypothesis.tokens and changed.text == hypothesis.text


def test_stored_values_read_back():
    calibration = Calibration(0.75, 0.25, -1.5)
    assert Calibration.from_dict(json.loads(json.dumps(calibration.as_dict()))) == calibration


@pytest.mark.parametrize(
    "values, message",
    [
        (None, "should have low, high, offset"),
        ({"low": 1, "high": 1}, "should have low, high, offset"),
        ({"low": 1, "high": 1, "offset": 0, "more": 0}, "should have low, high, offset"),
        ({"low": "1", "high": 1, "offset": 0}, "low and high are from 0 to 100"),
        ({"low": 1, "high": True, "offset": 0}, "low and high are from 0 to 100"),
        ({"low": -0.1, "high": 1, "offset": 0}, "low and high are from 0 to 100"),
        ({"low": 1, "high": float("nan"), "offset": 0}, "low and high are from 0 to 100"),
        ({"low": 1, "high": 1, "offset": 10**400}, "offset from -100 to 100"),
    ],
)
def test_what_is_no_calibration(values, message):
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        Calibration.from_dict(values)
    assert len(str(raised.value)) < 200
