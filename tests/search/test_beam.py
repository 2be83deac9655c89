import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.search import METHODS, SearchConfig
from tests.oracles import search as oracle
from tests.oracles.search import Speaker, batches, encoder_output, shape

search = METHODS["ar-beam"].function


@settings(max_examples=30, deadline=None)
@given(batches(), st.sampled_from((1, 2, 4)))
def test_a_beam_of_one_with_one_duration_is_greedy_search(batch, max_symbols):
    options = SearchConfig(max_symbols=max_symbols, beam=1, beam_durations=1)
    for beam, greedy in zip(search(*batch, options), METHODS["ar-greedy"].function(*batch, options)):
        assert shape(beam) == shape(greedy)
        assert beam.score == pytest.approx(greedy.score, abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from((((1, 2, 3), 3), ((2,), 3), ((0, 1, 2), 1), ((1, 3), 10))),
    st.sampled_from(("lstm", "stateless")),
)
def test_a_beam_of_everything_finds_the_probability_of_every_text(seed, kind, predictor):
    durations, max_symbols = kind
    model = Speaker(seed, 3, durations, predictor, blank_bias=0.0)
    encoded, lens = encoder_output(seed, [3, 1, 0, 2])
    options = SearchConfig(max_symbols=max_symbols, beam=10**4, beam_durations=9, nbest=10**4)
    for hypothesis, row, length in zip(search(model, encoded, lens, options), encoded, lens):
        expected = oracle.all_texts(model, row[:length], max_symbols)
        scores = {h.ids: h.score for h in hypothesis.alternatives}
        assert len(hypothesis.alternatives) == len(scores) == len(expected)
        assert scores == pytest.approx(expected, abs=1e-9)
        assert sum(map(math.exp, scores.values())) == pytest.approx(1.0)
        assert list(scores.values()) == sorted(scores.values(), reverse=True)
        assert hypothesis.ids == hypothesis.alternatives[0].ids


def test_a_wider_beam_finds_what_greedy_search_misses():
    better = worse = 0
    for seed in range(20):
        model = Speaker(seed, durations=(0, 1, 2, 4), blank_bias=0.0)
        encoded, lens = encoder_output(seed, [12])
        wide = search(model, encoded, lens, SearchConfig(beam=8, beam_durations=4))[0]
        narrow = search(model, encoded, lens, SearchConfig(beam=1, beam_durations=1))[0]
        better += wide.score > narrow.score + 1e-6
        worse += wide.score < narrow.score - 1e-6
    assert better >= 15 and worse == 0


def test_tokens_carry_the_times_of_a_possible_path():
    model = Speaker(5, durations=(1, 3, 4), blank_bias=-1.0)
    encoded, lens = encoder_output(5, [30])
    for hypothesis in search(model, encoded, lens, SearchConfig(nbest=4))[0].alternatives:
        assert hypothesis.tokens
        for token, following in zip(hypothesis.tokens, hypothesis.tokens[1:]):
            assert token.duration in model.durations and 0 < token.confidence < 1
            assert following.frame >= token.frame + token.duration
        assert hypothesis.alternatives == ()


def test_bonus_and_penalty_change_the_balance_of_tokens_and_blanks():
    model = Speaker(2, blank_bias=3.0)
    encoded, lens = encoder_output(2, [40])
    plain = len(search(model, encoded, lens, SearchConfig())[0].tokens)
    assert len(search(model, encoded, lens, SearchConfig(token_bonus=3.0))[0].tokens) > plain
    assert len(search(model, encoded, lens, SearchConfig(blank_penalty=4.0))[0].tokens) > plain


def test_nothing_to_decode():
    encoded, lens = encoder_output(0, [0, 0])
    assert [h.ids for h in search(Speaker(0), encoded, lens, SearchConfig(nbest=3))] == [(), ()]


@pytest.mark.parametrize("name", ["beam", "nbest", "max_symbols", "sar_rounds", "top_k", "beam_durations"])
def test_options_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} is 0: it must be at least 1"):
        SearchConfig(**{name: 0})
