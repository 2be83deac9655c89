"""The data of the page: figures, token times, alignment of texts."""

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.inference.decoded import Decoded
from hainan_k2.report import Detail, Page, page_data, render, utterances
from hainan_k2.report.differences import align, columns, differences
from hainan_k2.report.make import SHOWN, evenly
from hainan_k2.result import Hypothesis, Token, Word
from hainan_k2.scoring.calibration import calibration, judged_words
from hainan_k2.scoring.wer import score
from hainan_k2.text import normalise
from tests.report.pages import PIECES, data_in, page_of, texts


def test_calibration_by_hand():
    result = calibration([(0.95, True), (1.0, True), (0.96, False), (0.31, True), (0.28, False), (0.0, False)])
    low, middle, high = result.bins
    assert (low.count, low.confidence, low.accuracy) == (1, 0.0, 0.0)
    assert (middle.count, middle.confidence, middle.accuracy) == (2, pytest.approx(0.295), 0.5)
    assert (high.count, high.confidence, high.accuracy) == (3, pytest.approx(0.97), pytest.approx(2 / 3))
    # (1 * 0 + 2 * 0.205 + 3 * (0.97 - 2 / 3)) / 6
    assert result.words == 6 and result.error == pytest.approx(0.22)
    assert calibration([]).error is None


def test_words_are_correct_if_aligned_with_equal_words():
    hypothesis = Hypothesis((), 0.0, 9, (Word("a", 0, 1, 0.5), Word("Mr", 1, 2, 0.25), Word("sat", 2, 3, 0.75)))
    (scored,) = score([("u", "the mister sat down", "a mister sat")]).utterances
    assert judged_words(scored, hypothesis, normalise) == [(0.5, False), (0.25, True), (0.75, True)]
    (split,) = score([("u", "twenty one", "twenty one")]).utterances
    assert judged_words(split, Hypothesis((), 0.0, 9, (Word("2", 0, 1, 0.5), Word("1", 1, 2, 0.5))), normalise) is None


def test_summary_by_hand():
    page = page_of(
        ("a", "the cat sat", "the cat sat", "the hat sat"),
        ("b", "the cat", "cat", "the cat sat"),
        seconds={"encoder": 1.0, "ar-greedy": 0.5, "nar-greedy": 0.25},
    )
    data = page_data(page)
    assert (data["count"], data["audio"], data["encoder"]) == (2, 4.0, 1.0)
    ar, nar = data["methods"]
    assert (ar["wer"], ar["substitutions"], ar["deletions"], ar["insertions"], ar["words"]) == (0.2, 0, 1, 0, 5)
    assert (nar["wer"], nar["substitutions"], nar["deletions"], nar["insertions"]) == (0.4, 1, 0, 1)
    assert ar["confusions"]["deletions"] == {"kinds": 1, "most": [("the", None, 1)]}
    assert nar["confusions"]["substitutions"]["most"] == [("cat", "hat", 1)]
    assert nar["confusions"]["insertions"]["most"] == [(None, "sat", 1)]
    assert ar["calibration"]["error"] == pytest.approx(0.1) and ar["calibration"]["words"] == 4
    assert nar["calibration"]["error"] == pytest.approx(abs(4 / 6 - 0.9))
    assert (ar["search"], nar["search"]) == (0.5, 0.25)


def test_without_references_every_two_methods_are_compared_and_none_is_scored():
    labels = ("ar-greedy", "nar-greedy", "sar")
    page = page_of(
        ("a", "", "the cat", "the cats", "cat"), ("b", "", "sat", "sat", "sat"), labels=labels, references=False
    )
    data = page_data(page)
    assert [(d["first"], d["second"], d["count"], d["rate"]) for d in data["differences"]] == [
        (0, 1, 1, pytest.approx(1 / 3)),
        (0, 2, 1, pytest.approx(1 / 3)),
        (1, 2, 2, pytest.approx(2 / 3)),
    ]
    assert data["differences"][0]["words"] == (("cat", "cats", 1),)
    assert not any(key in method for method in data["methods"] for key in ("wer", "cer", "confusions", "calibration"))
    first, second = data["utterances"]
    assert first["columns"] == [(None, ("the", "the", None)), (None, ("cat", "cats", "cat"))]
    assert first["differing"] == [0, 1] and second["differing"] == []
    assert "errors" not in first


def test_without_references_a_method_is_not_compared_with_itself_and_failures_do_not_count():
    assert page_data(page_of(("a", "", "cat"), labels=("sar",), references=False))["differences"] == []
    page = page_of(("a", "", "", "the cat"), ("b", "", "sat", "sat"), references=False)
    del page.decoded[0].hypotheses["ar-greedy"]
    page.decoded[0].failures["ar-greedy"] = "RuntimeError: no memory"
    data = page_data(page)
    assert data["differences"][0]["count"] == 0 and data["utterances"][0]["differing"] == []
    empty = page_data(page_of(("a", "", "", "the cat"), references=False))  # nothing recognised is a difference
    assert empty["differences"][0]["rate"] == 1.0 and empty["utterances"][0]["differing"] == [0, 1]


def test_without_references_no_characters_are_aligned(monkeypatch):
    """In recordings of an hour they take ten times as long as the words."""
    monkeypatch.setattr(jiwer, "process_characters", None)
    data = page_data(page_of(("a", "", "the cat", "the cats"), references=False))
    assert data["differences"][0]["count"] == len(data["utterances"][0]["differing"]) == 1


@settings(max_examples=40, deadline=None)
@given(st.lists(texts, min_size=1, max_size=4))
def test_aligned_texts_keep_all_words_and_pairs_are_symmetric(drawn):
    split = [text.split() for text in drawn]
    aligned = align(split)
    for i, text in enumerate(split):
        assert [words[i] for words in aligned if words[i] is not None] == text
    assert all(any(words) for words in aligned)
    if len(set(drawn)) == 1:
        assert all(len(set(words)) == 1 for words in aligned)
    for d in differences([{"u": text} for text in drawn], 3):
        reverse = differences([{"u": drawn[d.second]}, {"u": drawn[d.first]}], 3)[0]
        assert (d.count, d.rate) == (reverse.count, reverse.rate)
        differing = sum(words[d.first] != words[d.second] for words in aligned)
        assert d.count <= differing  # an alignment of two texts in the columns costs at least their edit distance


def test_failures_and_empty_references():
    page = page_of(("a", "the cat", "the cat", "the cat"), ("silent", "", "", "cat"))
    page.decoded[0].failures["nar-greedy"] = "RuntimeError: no memory"
    del page.decoded[0].hypotheses["nar-greedy"]
    data = page_data(page)
    assert data["methods"][1]["failed"] == 1 and data["methods"][1]["deletions"] == 2
    assert data["utterances"][0]["rows"][1]["failure"] == "RuntimeError: no memory"
    only = page_of(("silent", "", "", "cat"))
    assert data_in(render(only))["methods"][1]["wer"] is None  # one error, but no reference words


def test_all_utterances_are_listed_and_some_have_details():
    page = page_of(("a", "cat", "cat", "cat"), ("b", "cat", "cat", "cat"), details={"b": Detail()})
    assert [(u["id"], u["detail"] is not None) for u in page_data(page)["utterances"]] == [("a", False), ("b", True)]
    assert evenly(range(7)) == list(range(7)) and evenly([]) == []
    some = evenly(range(1000))
    assert len(some) == SHOWN and (some[0], some[-1]) == (0, 999)


def test_of_too_many_utterances_those_with_details_and_most_errors_are_listed(monkeypatch):
    monkeypatch.setattr(utterances, "LISTED", 3)
    drawn = [
        ("a", "the cat", "cat"),
        ("b", "the cat", "the cat"),
        ("c", "the cat", ""),
        ("d", "cat", ""),
        ("e", "", ""),
    ]
    for references, expected in ((True, "bcd"), (False, "abd")):
        page = page_of(*drawn, labels=("sar",), details={"b": Detail(), "d": Detail()}, references=references)
        data = page_data(page)
        assert "".join(u["id"] for u in data["utterances"]) == expected
        assert (data["count"], sum(data["durations"]["counts"])) == (5, 5)


def test_tokens_have_their_times():
    hypothesis = Hypothesis((Token(3, 2, 3, 0.5), Token(5, 4, 0, 1.0)), -1.0, 30)
    page = Page(
        "p", ("ar-greedy",), [Decoded("a", "cats", 0.35, {"ar-greedy": hypothesis}, {})], PIECES, {"a": Detail()}
    )
    tokens = page_data(page)["utterances"][0]["detail"]["tokens"][0]
    assert [(t["text"], t["frame"], t["duration"], t["confidence"]) for t in tokens] == [
        ("▁cat", 2, 3, 0.5),
        ("s", 4, 0, 1.0),
    ]
    times = [t[end] for t in tokens for end in ("start", "end")]
    assert times == pytest.approx([0.16, 0.32, 0.32, 0.35])  # limited by the next token and by the end of the audio


@settings(max_examples=40, deadline=None)
@given(texts, st.lists(texts, min_size=1, max_size=4))
def test_columns_hold_all_words_in_order(reference, recognised):
    aligned = columns([score([("u", reference, text)]).utterances[0] for text in recognised])
    assert [word for word, _ in aligned if word is not None] == reference.split()
    for i, text in enumerate(recognised):
        assert [words[i] for _, words in aligned if words[i] is not None] == text.split()
    assert all(word is not None or any(words) for word, words in aligned)  # no column is empty


def test_columns_by_hand():
    aligned = columns(score([("1", "a b c", "a x b c"), ("2", "a b c", "a c"), ("3", "a b c", "a b c y z")]).utterances)
    assert aligned == [
        ("a", ("a", "a", "a")),
        (None, ("x", None, None)),
        ("b", ("b", None, "b")),
        ("c", ("c", "c", "c")),
        (None, (None, None, "y")),
        (None, (None, None, "z")),
    ]
