"""Histograms and speakers."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.inference.decoded import Decoded
from hainan_k2.report import page_data
from hainan_k2.report.breakdown import MOST_BINS, STEPS, by_speaker, durations, error_rates
from hainan_k2.scoring.wer import Errors
from tests.report.pages import page_of

counts = st.integers(0, 40)


@given(st.lists(st.integers(1, 10**6).map(lambda n: n / 100), max_size=30))
def test_every_duration_is_in_its_bin(seconds):
    histogram = durations(seconds)
    assert sum(histogram.counts) == len(seconds)
    for i, count in enumerate(histogram.counts):
        low, high = i * histogram.step, (i + 1) * histogram.step
        assert count == sum(low - 1e-6 <= value < high - 1e-6 for value in seconds)
    assert len(histogram.counts) <= MOST_BINS and (not seconds or histogram.counts[-1])
    smaller = [step for step in STEPS if step < histogram.step]
    assert not smaller or max(seconds) >= MOST_BINS * smaller[-1] - 1e-6


def test_durations_on_a_limit_are_in_the_upper_bin():
    assert durations([0.3]).counts == (0, 0, 0, 1)  # 0.3 / 0.1 is 2.9999999999999996
    assert durations([86400.0 * 2]).step == 3600


@given(st.lists(st.builds(Errors, counts, counts, counts, counts), max_size=30))
def test_every_error_rate_is_in_its_bin(errors):
    def in_bin(i, rate):
        if i == 0:
            return rate == 0
        return 10 * (i - 1) < rate * 100 - 1e-9 <= 10 * i if i < 11 else rate * 100 - 1e-9 > 100

    assert error_rates(errors) == tuple(sum(in_bin(i, e.rate) for e in errors) for i in range(12))
    assert sum(error_rates(errors)) == len(errors)


def utterances(*ids):
    return [Decoded(name, "", 1.5, {}, {}) for name in ids]


def test_speakers_by_hand():
    known = {"a": "joe", "b": "ann", "c": "joe", "elsewhere": "eve"}
    speakers = by_speaker(utterances("a", "b", "c", "d"), known)
    assert [(s.name, s.utterances, s.seconds) for s in speakers] == [
        ("", ("d",), 1.5),
        ("ann", ("b",), 1.5),
        ("joe", ("a", "c"), 3.0),
    ]


def test_speakers_that_tell_nothing_are_left_out():
    assert by_speaker(utterances("a", "b"), {"a": "joe", "b": "joe"}) == []
    assert by_speaker(utterances("a", "b"), {"a": "joe", "b": "ann"}) == []
    assert by_speaker(utterances("a", "b"), {}) == by_speaker([], {}) == []


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(*[st.lists(st.sampled_from("abc"), max_size=5).map(" ".join)] * 3, st.sampled_from("xy")), max_size=8
    )
)
def test_the_errors_of_the_speakers_add_up(drawn):
    texts = [(f"u{i}", *three) for i, (*three, _) in enumerate(drawn)]
    data = page_data(page_of(*texts, speakers={f"u{i}": speaker for i, (*_, speaker) in enumerate(drawn)}))
    assert sum(s["count"] for s in data["speakers"]) in (0, len(drawn))
    assert math.isclose(sum(s["seconds"] for s in data["speakers"]), data["audio"]) or not data["speakers"]
    for method in data["methods"] if data["speakers"] else ():
        for figure in ("words", "hits", "substitutions", "deletions", "insertions"):
            assert sum(speaker[figure] for speaker in method["speakers"]) == method[figure]
