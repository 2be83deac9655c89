"""The expected calibration error against its definition, interval by interval."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hainan_k2.scoring.calibration import BINS, calibration

# Multiples of 1/64 lie on no edge of 15 intervals but 0 and 1.
WORDS = st.lists(st.tuples(st.integers(0, 64).map(lambda n: n / 64), st.booleans()), min_size=1, max_size=60)


@given(WORDS)
def test_the_error_is_the_weighted_mean_of_the_gaps(words):
    total = 0.0
    for m in range(15):
        inside = [(c, ok) for c, ok in words if m / 15 <= c < (m + 1) / 15 or m == 14 and c == 1]
        if inside:
            accuracy = sum(ok for _, ok in inside) / len(inside)
            total += len(inside) / len(words) * abs(accuracy - sum(c for c, _ in inside) / len(inside))
    found = calibration(words)
    assert BINS == 15 and found.error == pytest.approx(total, abs=1e-12) and found.words == len(words)


def test_probabilities_that_hold_have_no_error():
    words = [(0.75, i % 4 < 3) for i in range(40)] + [(0.2, i % 5 < 1) for i in range(40)]
    assert calibration(words).error == pytest.approx(0.0)
    assert calibration([(1.0, False)] * 3).error == pytest.approx(1.0)
