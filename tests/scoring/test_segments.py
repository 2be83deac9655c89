"""The matched-pairs segment test: segments by hand and by brute force, p by scipy, and simulated systems."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hainan_k2.scoring.segments import BETWEEN, compare_segments, segment_test, segments_of, slots
from hainan_k2.scoring.wer import score
from tests.scoring.test_results import RESULTS
from tests.scoring.test_significance import simulated


def scored(reference, hypothesis):
    return score([("u", reference, hypothesis)]).utterances[0]


def test_slots():
    assert slots(scored("a b c", "x a y c z")) == [1, 0, 0, 1, 0, 0, 1]
    assert slots(scored("", "x y")) == [2] and slots(scored("a", "")) == [0, 1, 0]


def test_segments_by_hand():
    reference = "a b c d e f g"
    assert segments_of(scored(reference, "x b c d e f x"), scored(reference, reference)) == [(1, 0), (1, 0)]
    assert segments_of(scored(reference, "a x c x e f g"), scored(reference, "a b c d x f g")) == [(2, 1)]
    assert segments_of(scored(reference, reference), scored(reference, reference)) == []
    assert segments_of(scored("a b", "a y b"), scored("a b", "a b z")) == [(1, 1)], "one correct word between"
    assert segments_of(scored("a b c", "y a b c"), scored("a b c", "a b c z")) == [(1, 0), (0, 1)]


def cut_by_hand(a, b):
    """Cuts the places of an utterance at every run of places without errors that has BETWEEN words or more."""
    clean = ["0" if not x and not y else "1" for x, y in zip(a, b)]
    parts, i = [], 0
    while i < len(clean):
        j = i
        while j < len(clean) and clean[j] == clean[i]:
            j += 1
        words = sum(place % 2 for place in range(i, j))
        parts.append((i, j, clean[i] == "0" and (words >= BETWEEN or i == 0 or j == len(clean))))
        i = j
    found, current = [], None
    for i, j, separates in parts:
        if separates:
            found, current = found + ([current] if current else []), None
        elif current is None:
            current = (sum(a[i:j]), sum(b[i:j]))
        else:
            current = (current[0] + sum(a[i:j]), current[1] + sum(b[i:j]))
    return found + ([current] if current else [])


WORDS = st.lists(st.sampled_from("abx"), max_size=14).map(" ".join)


@given(reference=WORDS, first=WORDS, second=WORDS)
def test_segments_hold_all_errors(reference, first, second):
    one, two = scored(reference, first), scored(reference, second)
    found = segments_of(one, two)
    assert found == cut_by_hand(slots(one), slots(two))
    assert (sum(a for a, _ in found), sum(b for _, b in found)) == (one.words.total, two.words.total)
    assert all(a or b for a, b in found)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=40))
def test_p_is_that_of_the_normal_distribution(pairs):
    differences = np.array([b - a for a, b in pairs], dtype=float)
    found = segment_test(pairs)
    assert found.segments == len(pairs) and 0 <= found.p_value <= 1
    if differences.sum() == 0:
        assert (found.difference, found.p_value) == (0.0, 1.0)
    elif differences.std() == 0:
        assert found.p_value == pytest.approx(min(1.0, stats.binomtest(len(pairs), len(pairs)).pvalue))
    else:
        z = differences.mean() / (differences.std(ddof=1) / np.sqrt(len(pairs)))
        assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-9)
    swapped = segment_test([(b, a) for a, b in pairs])
    assert (swapped.difference, swapped.p_value) == (-found.difference, found.p_value)


def test_systems():
    poor, good = score(simulated(0.25, seed=1)), score(simulated(0.15, seed=2))
    clear = compare_segments(good, poor)
    assert clear.difference > 0 and clear.p_value < 0.01 < compare_segments(poor, poor).p_value == 1.0
    pairs = [(score(simulated(0.2, s, 60)), score(simulated(0.2, 1000 + s, 60))) for s in range(60)]
    assert sum(compare_segments(a, b).p_value < 0.05 for a, b in pairs) <= 9
    with pytest.raises(ValueError, match="same utterances"):
        compare_segments(score(RESULTS), score(RESULTS[1:]))
