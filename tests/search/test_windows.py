import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.result import Round
from hainan_k2.search import METHODS, SearchConfig
from hainan_k2.search.windows import find_windows
from tests import oracle_windows as oracle
from tests.oracle_search import Speaker, batches, encoder_output, shape

search = METHODS["sar-insert"].function
quick = settings(max_examples=40, deadline=None)


@quick
@given(batches(), st.sampled_from((1, 2, 5)), st.sampled_from((0.0, 0.5, 0.8, 1.0)))
def test_it_equals_the_reference(batch, rounds, confidence):
    model, encoded, lens = batch
    found = search(model, encoded, lens, SearchConfig(sar_rounds=rounds, window_confidence=confidence))
    for hypothesis, row, length in zip(found, encoded, lens):
        tokens, confidences, score, history = oracle.sar_insert(model, row[:length], rounds, confidence)
        assert shape(hypothesis) == tokens
        assert [t.confidence for t in hypothesis.tokens] == pytest.approx(confidences, abs=1e-9)
        assert hypothesis.score == pytest.approx(score, abs=1e-9)
        done = [(r.ids, r.substitutions, r.deletions, r.insertions) for r in hypothesis.rounds[1:]]
        assert done == history


@quick
@given(batches())
def test_windows_of_every_frame_end_in_autoregressive_search(batch):
    model, encoded, lens = batch
    options = SearchConfig(sar_rounds=max(1, int(lens.max())), window_confidence=1.0, max_symbols=1)
    for found, ar in zip(search(*batch, options), METHODS["ar-greedy"].function(*batch, options)):
        assert shape(found) == shape(ar)
        assert found.score == pytest.approx(ar.score, abs=1e-9)


@quick
@given(batches(), st.sampled_from((1, 4)))
def test_without_windows_nothing_is_refined(batch, rounds):
    options = SearchConfig(sar_rounds=rounds, window_confidence=0.0)
    for found, nar in zip(search(*batch, options), METHODS["nar-greedy"].function(*batch, options)):
        assert shape(found) == shape(nar) and found.score == nar.score
        assert found.rounds == (Round(nar.ids, 0, 0, 0),)


def test_it_substitutes_drops_and_inserts_and_stops():
    kinds = [0, 0, 0]
    for seed in range(6):
        model = Speaker(seed, durations=(1, 2))
        encoded, lens = encoder_output(seed, [20, 11])
        for h in search(model, encoded, lens, SearchConfig(sar_rounds=30)):
            assert len(h.rounds) < 31 and h.rounds[-1] == Round(h.ids, 0, 0, 0)
            for r in h.rounds:
                kinds = [a + b for a, b in zip(kinds, (r.substitutions, r.deletions, r.insertions))]
    assert all(kinds)


def test_an_empty_start_can_be_filled():
    grown = 0
    for seed in range(30):
        model = Speaker(seed, durations=(1, 2), blank_bias=3.0)
        for h in search(model, *encoder_output(seed, [6, 4]), SearchConfig(sar_rounds=8)):
            grown += not h.rounds[0].ids and len(h.ids) > 0
    assert grown


def test_a_window_is_a_frame_that_is_not_sure_enough():
    logits = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]]).log()
    assert find_windows(logits, 0.7).tolist() == [1]
    assert find_windows(logits, 0.85).tolist() == [1, 2]
    assert find_windows(logits, 0.0).tolist() == []
    assert find_windows(logits, 1.0).tolist() == [0, 1, 2]


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_confidence_that_is_no_probability_is_refused(value):
    with pytest.raises(ValueError, match=f"window_confidence is {value}: a probability from 0 to 1"):
        SearchConfig(window_confidence=value)
