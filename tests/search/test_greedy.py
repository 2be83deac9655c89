import logging

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.search import METHODS, SearchConfig
from hainan_k2.search.emissions import Frames
from hainan_k2.search.greedy import walk
from tests.oracles import search as oracle
from tests.oracles.search import Speaker, batches, encoder_output, shape

quick = settings(max_examples=60, deadline=None)


@quick
@given(batches(), st.sampled_from((1, 2, 6)))
def test_label_looping_equals_the_reference(batch, max_symbols):
    model, encoded, lens = batch
    hypotheses = METHODS["ar-greedy"].function(model, encoded, lens, SearchConfig(max_symbols=max_symbols))
    for hypothesis, row, length in zip(hypotheses, encoded, lens):
        tokens, score = oracle.ar_greedy(model, row[:length], max_symbols)
        assert shape(hypothesis) == tokens
        assert hypothesis.score == pytest.approx(score, abs=1e-9)
        assert hypothesis.num_frames == length


@quick
@given(batches())
def test_nar_walk_equals_the_reference(batch):
    model, encoded, lens = batch
    for hypothesis, row, length in zip(
        METHODS["nar-greedy"].function(model, encoded, lens, SearchConfig()), encoded, lens
    ):
        tokens, score = oracle.nar_greedy(model, row[:length])
        assert shape(hypothesis) == tokens
        assert hypothesis.score == pytest.approx(score, abs=1e-9)


@quick
@given(st.lists(st.lists(st.integers(1, 9), max_size=70), min_size=1, max_size=4))
def test_pointer_jumping_visits_what_a_walk_visits(steps):
    lens = torch.tensor([len(row) for row in steps])
    frames = Frames.pack(torch.zeros(len(steps), max(1, int(lens.max())), 1), lens)
    visited = iter(walk(torch.tensor(sum(steps, []), dtype=torch.int64), frames).tolist())
    for row in steps:
        expected, time = set(), 0
        while time < len(row):
            expected.add(time)
            time += row[time]
        assert {t for t in range(len(row)) if next(visited)} == expected


def test_confidence_is_the_probability_of_the_token():
    model = Speaker(3, blank_bias=-2.0)
    encoded, lens = encoder_output(1, [9])
    tokens = METHODS["nar-greedy"].function(model, encoded, lens, SearchConfig())[0].tokens
    rows, _ = oracle.nar_tables(model, encoded[0])
    assert tokens
    for token in tokens:
        assert token.confidence == pytest.approx(torch.tensor(rows[token.frame]).exp()[token.id].item())


@pytest.mark.parametrize("durations", [(0, 1, 2), (0, 4)])
def test_blanks_of_duration_0_move_on_by_one_frame(durations):
    model = Speaker(0, durations=durations).always(0, token=0)
    encoded, lens = encoder_output(0, [7, 3])
    for name in ("ar-greedy", "nar-greedy"):
        for hypothesis in METHODS[name].function(model, encoded, lens, SearchConfig()):
            assert hypothesis.tokens == () and hypothesis.score == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("max_symbols", [1, 3])
def test_a_spent_symbol_budget_moves_on_by_exactly_one_frame(max_symbols, caplog):
    model = Speaker(0, durations=(0, 1, 2)).always(0, token=2)
    encoded, lens = encoder_output(0, [4, 2])
    with caplog.at_level(logging.WARNING):
        hypotheses = METHODS["ar-greedy"].function(model, encoded, lens, SearchConfig(max_symbols=max_symbols))
    for hypothesis, length in zip(hypotheses, lens):
        assert shape(hypothesis) == [(2, t, 0) for t in range(length) for _ in range(max_symbols)]
    assert f"6 times a frame had max_symbols={max_symbols} tokens" in caplog.text


def test_the_last_token_of_the_budget_moves_by_its_own_duration_only():
    model = Speaker(0, durations=(0, 1, 2)).always(1, token=2)
    encoded, lens = encoder_output(0, [5])
    hypotheses = METHODS["ar-greedy"].function(model, encoded, lens, SearchConfig(max_symbols=1))
    assert shape(hypotheses[0]) == [(2, t, 1) for t in range(5)]


@pytest.mark.parametrize("name", ["ar-greedy", "nar-greedy"])
def test_durations_are_looked_up(name):
    model = Speaker(0, durations=(1, 4)).always(4, token=1)
    encoded, lens = encoder_output(0, [9])
    hypotheses = METHODS[name].function(model, encoded, lens, SearchConfig())
    assert shape(hypotheses[0]) == [(1, 0, 4), (1, 4, 4), (1, 8, 4)]


def test_sizes_that_do_not_fit_are_refused():
    model = Speaker(0)
    encoded, _ = encoder_output(0, [4, 4])
    with pytest.raises(ValueError, match=r"lens \[4, 5\] should lie within the encoder output's 4 frames"):
        METHODS["nar-greedy"].function(model, encoded, torch.tensor([4, 5]), SearchConfig())
    with pytest.raises(ValueError, match=r"lens \(3,\): not \(B, T, C\) and \(B,\)"):
        METHODS["ar-greedy"].function(model, encoded, torch.tensor([4, 4, 4]), SearchConfig())
