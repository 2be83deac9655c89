"""The references of hotwords, on phrases of two tokens."""

import pytest

from tests.oracles.hotwords import paid, token_bias

STARTS = [False, True, False, True]  # token 1 and 3 start a word, 2 continues one
PHRASES = {(1,): 1.0, (1, 2): 2.0}


@pytest.mark.parametrize(
    "ids, total",
    [
        ((1,), 1.0),
        ((1, 2), 2.0 * 2),  # (1,) is no whole word here
        ((1, 3), 1.0),
        ((1, 2, 1, 2), 2 * 2.0 * 2),
        ((1, 2, 2), 0.0),
        ((), 0.0),
    ],
)
def test_a_phrase_counts_where_it_stands_as_whole_words(ids, total):
    assert paid(PHRASES, STARTS, ids) == total


def test_the_bias_is_the_largest_weight_begun_or_continued():
    bias = token_bias(PHRASES)
    assert bias((), 1) == 2.0 and bias((3,), 1) == 2.0 and bias((1,), 2) == 2.0
    assert bias((), 2) == 0.0 and bias((1, 2), 2) == 0.0
    assert token_bias({(1,): 1.0, (3, 1): 0.5})((3,), 1) == 1.0
