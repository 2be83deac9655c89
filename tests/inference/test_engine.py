"""Decoding a set: utterances whose search fails, rows that are searched together, the choice of oracles."""

import logging
from dataclasses import replace

import pytest
import torch

from hainan_k2.config import ModelConfig
from hainan_k2.data.batches import Batch
from hainan_k2.inference import batch_search
from hainan_k2.inference.batch_search import group_rows
from hainan_k2.inference.decoded import nearest
from hainan_k2.inference.engine import decode_batches
from hainan_k2.inference.failures import FailureLog
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis, Token
from hainan_k2.search import METHODS, Method
from hainan_k2.search.sweep import Row, SearchGrid, make_rows
from hainan_k2.stopwatch import Stopwatch

PIECES = ["<blk>", "<unk>", "▁a", "▁b", "c", "▁d"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Hainan(ModelConfig.preset("tiny", vocab_size=len(PIECES))).eval()


def batch(lens):
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(len(lens), max(lens), 80, generator=generator)
    return Batch(
        features, torch.tensor(lens), tuple(f"id-{n}" for n in lens), ("a b",) * len(lens), tuple(n / 100 for n in lens)
    )


def failing(lens, error):
    """A search that raises `error` on utterances of so many encoder frames."""

    def function(model, encoder_out, frames, options, resources):
        if set(frames.tolist()) & lens:
            raise error
        assert encoder_out.shape[1] == frames.max()
        return [Hypothesis((Token(2, 0, 1, 0.5),), -float(n) * options.lm_scale, n) for n in frames.tolist()]

    return function


def decode(model, batches, rows):
    return [utterance for batch in decode_batches(model, batches, rows, PIECES, Stopwatch()) for utterance in batch]


def test_an_utterance_that_fails_loses_no_other(model, monkeypatch, caplog):
    error = RuntimeError("\n  Some bad things happened.\n at line 3")
    monkeypatch.setitem(METHODS, "frail", Method("frail", failing({20, 30}, error), False, "fails"))
    rows = [
        Row("nar-greedy", "nar-greedy", make_rows(["nar-greedy"])[0].options),
        *(
            Row(f"frail lm_scale={x:g}", "frail", replace(make_rows(["viterbi"])[0].options, lm_scale=x))
            for x in (1.0, 2.0)
        ),
    ]
    with caplog.at_level(logging.WARNING):
        decoded = decode(model, [batch([80, 160, 240, 320]), batch([80])], rows)
    assert [d.id for d in decoded] == ["id-80", "id-160", "id-240", "id-320", "id-80"]
    for scale, row in zip((1.0, 2.0), rows[1:]):
        assert [d.failures.get(row.label) for d in decoded] == [
            None,
            *["RuntimeError: Some bad things happened."] * 2,
            None,
            None,
        ]
        assert [d.hypotheses[row.label].score for d in decoded if row.label in d.hypotheses] == [
            -10.0 * scale,
            -40.0 * scale,
            -10.0 * scale,
        ]
        assert [d.texts(row.label)[2] for d in decoded] == ["a", "", "", "a", "a"]
    assert all("nar-greedy" in d.hypotheses for d in decoded)
    assert "frail lm_scale=1 failed on utterance id-160: RuntimeError: Some bad" in caplog.text
    assert sum("one by one" in message for message in caplog.messages) == 2


def test_a_sweep_that_fails_is_searched_row_by_row(model, monkeypatch):
    class Frail:
        __call__ = staticmethod(failing({20}, ValueError()))

        def sweep(self, model, encoder_out, lens, points, resources):
            raise ValueError("too large")

    monkeypatch.setitem(METHODS, "frail", Method("frail", Frail(), False, "fails", sweeps=("lm_scale",)))
    options = make_rows(["viterbi"])[0].options
    rows = [Row(f"frail {x:g}", "frail", replace(options, lm_scale=x)) for x in (1.0, 2.0)]
    decoded = decode(model, [batch([80, 160])], rows)
    assert [d.hypotheses[r.label].score for d in decoded[:1] for r in rows] == [-10.0, -20.0]
    assert decoded[1].failures == {"frail 1": "ValueError", "frail 2": "ValueError"}


def test_rows_that_are_searched_together():
    rows = make_rows(["nbest-lm", "nbest", "ar-greedy"], SearchGrid(lm_scale=(0.1, 0.2), top_k=(2, 4)))
    assert [[row.label for row in run] for run in group_rows(rows)] == [
        ["nbest-lm top_k=2 lm_scale=0.1", "nbest-lm top_k=2 lm_scale=0.2"],
        ["nbest-lm top_k=4 lm_scale=0.1", "nbest-lm top_k=4 lm_scale=0.2"],
        ["nbest top_k=2"],
        ["nbest top_k=4"],
        ["ar-greedy"],
    ]


@pytest.mark.parametrize("error", [TypeError("a mistake"), IndexError("a mistake"), RuntimeError("a mistake")])
def test_a_mistake_in_a_search_is_logged_with_its_traceback_once_and_counted(model, monkeypatch, caplog, error):
    monkeypatch.setattr(batch_search, "failures", FailureLog())
    monkeypatch.setitem(METHODS, "wrong", Method("wrong", failing({10, 20}, error), False, "raises"))
    rows = [replace(make_rows(["viterbi"])[0], method="wrong", label="wrong")]
    decoded = decode(model, [batch([80, 160, 240]), batch([80])], rows)
    why = f"{type(error).__name__}: a mistake"
    assert [d.failures for d in decoded] == [{"wrong": why}, {"wrong": why}, {}, {"wrong": why}]
    assert [bool(record.exc_info) for record in caplog.records] == [True, False, False, False, False]
    assert caplog.text.count("Traceback") == 1 and "in function" in caplog.text
    assert {record.name for record in caplog.records} == {"hainan_k2.inference.failures"}
    (kind, file, _), count = batch_search.failures.counts.popitem()
    assert (kind, file, count) == (type(error).__name__, __file__, 5) and not batch_search.failures.counts
    assert caplog.messages[-1].startswith(f"wrong failed on utterance id-80: {why} (test_engine.py:")
    assert caplog.messages[-1].endswith(", no. 5 of this kind)")


def test_another_type_or_place_is_another_kind(caplog):
    log = FailureLog()
    for mistake in (lambda: [][1], lambda: {}[1], lambda: [][1], lambda: int(None)) * 2:
        try:
            mistake()
        except Exception as error:
            log.report(logging.ERROR, "it failed", error)
    assert [bool(record.exc_info) for record in caplog.records] == [True, True, False, True] + [False] * 4
    assert sorted(log.counts.values()) == [2, 2, 4]  # a line of code and a type: both lists are one


def test_errors_of_the_input_stay_one_line(caplog):
    log = FailureLog()
    for _ in range(2):
        try:
            raise ValueError("too long\nby far")
        except ValueError as error:
            assert log.report(logging.ERROR, "it failed", error) == "ValueError: too long"
    assert caplog.messages == ["it failed: ValueError: too long"] * 2
    assert "Traceback" not in caplog.text and not log.counts


def test_every_row_has_its_seconds(model):
    pytest.importorskip("k2")
    watch = Stopwatch()
    rows = make_rows(["nar-greedy", "nbest-ar"], SearchGrid(ar_weight=(0.2, 1.0)))
    for _ in decode_batches(model, [batch([160, 80])], rows, PIECES, watch):
        pass
    assert set(watch.seconds) == {"encoder", *(row.label for row in rows)} and min(watch.seconds.values()) > 0
    assert watch.seconds[rows[1].label] == watch.seconds[rows[2].label]


def test_the_oracle_takes_the_text_with_the_fewest_word_errors():
    def hypothesis(*ids):
        return Hypothesis(tuple(Token(id, 3 * n, 1, 1.0) for n, id in enumerate(ids)), 0.0, 30).with_words(PIECES)

    texts = [hypothesis(2, 5), hypothesis(3, 4), hypothesis(2, 3), hypothesis(2, 3, 4)]
    listed = replace(texts[0], alternatives=tuple(texts))
    best = nearest(listed, "A, b!")
    assert best.text == "a b" and best.alternatives == listed.alternatives
    assert nearest(listed, "d").text == "a d" and nearest(listed, "x y").text == "a d"  # the first of equals


def test_oracles_are_picked_from_the_list_of_nbest(model):
    pytest.importorskip("k2")
    batches = [batch([480, 160, 320])]
    options = SearchGrid(num_paths=(8,), blank_penalty=(2.0,))
    for d in decode(model, batches, make_rows(["nbest", "nbest-oracle"], options)):
        assert d.hypotheses["nbest-oracle"] == nearest(d.hypotheses["nbest-oracle"], d.reference)
        assert d.hypotheses["nbest"].text == d.hypotheses["nbest-oracle"].alternatives[0].text
        assert len(d.hypotheses["nbest-oracle"].alternatives) > 1
