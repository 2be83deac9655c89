"""Speculative decoding decides as label-looping does, whatever the drafts are worth, and in fewer rounds."""

from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.language.hotwords import HotwordGraph
from hainan_k2.search import greedy, speculative
from hainan_k2.search.emissions import Frames
from tests.oracles import search as oracle
from tests.oracles.hotwords import hotwords
from tests.oracles.search import Speaker, batches, encoder_output, shape

quick = settings(max_examples=60, deadline=None)
symbols = st.sampled_from((1, 3, 10))


def frames_of(model, encoded, lens):
    with torch.no_grad():
        return Frames.pack(encoded, lens).map(model.joiner.project_encoder)


@torch.no_grad()
def run(model, frames, max_symbols, graph=None, **settings):
    with patch.multiple(speculative, **settings):
        return greedy.ar_walk(model, frames, max_symbols, graph).hypotheses(frames.lens)


@torch.no_grad()
def looped(model, frames, max_symbols, graph=None):
    return greedy.label_looping(model, frames, max_symbols, graph).hypotheses(frames.lens)


def assert_same(found, expected):
    assert [shape(h) for h in found] == [shape(h) for h in expected]
    for one, other in zip(found, expected):
        assert one.score == pytest.approx(other.score, abs=1e-9)
        assert [t.confidence for t in one.tokens] == pytest.approx([t.confidence for t in other.tokens], abs=1e-9)


@quick
@given(batches(), symbols, st.integers(1, 12), st.sampled_from((0.0, 0.3, 1.0)))
def test_it_equals_label_looping_and_the_reference(batch, max_symbols, steps, probability):
    model, encoded, lens = batch
    frames = frames_of(*batch)
    found = run(model, frames, max_symbols, MIN_ACCEPTED=0, MAX_STEPS=steps, MIN_PROBABILITY=probability)
    assert_same(found, looped(model, frames, max_symbols))
    for hypothesis, row, length in zip(found, encoded, lens):
        assert shape(hypothesis) == oracle.ar_greedy(model, row[:length], max_symbols)[0]


@quick
@given(batches(), symbols, st.integers(0, 6))
def test_label_looping_goes_on_from_any_round(batch, max_symbols, trial):
    frames = frames_of(*batch)
    found = run(batch[0], frames, max_symbols, TRIAL=trial, MIN_ACCEPTED=99)
    assert_same(found, looped(batch[0], frames, max_symbols))


@quick
@given(batches().flatmap(lambda batch: st.tuples(st.just(batch), hotwords(batch[0].vocab_size))), symbols)
def test_with_hotwords(drawn, max_symbols):
    batch, phrases = drawn
    graph, frames = HotwordGraph.build(*phrases).scaled(2.0), frames_of(*batch)
    expected = looped(batch[0], frames, max_symbols, graph)
    assert_same(run(batch[0], frames, max_symbols, graph, MIN_ACCEPTED=0), expected)
    assert_same(run(batch[0], frames, max_symbols, graph, TRIAL=1, MIN_ACCEPTED=99), expected)


def rounds_of(model, frames, **settings):
    calls, unroll = [], model.predictor.unroll
    with patch.object(model.predictor, "unroll", lambda *a: calls.append(1) or unroll(*a)):
        found = run(model, frames, 10, **settings)
    return found, len(calls)


def test_where_the_predictor_says_nothing_every_draft_is_accepted_whole():
    """AR equals NAR: 96 steps of one frame in rounds of 12."""
    model = Speaker(3, durations=(0, 1, 2)).always(1)
    with torch.no_grad():
        for parameter in model.joiner.pred.parameters():
            parameter.zero_()
    frames = frames_of(model, *encoder_output(5, [96]))
    found, rounds = rounds_of(model, frames, MIN_PROBABILITY=0.0)
    assert rounds == 8 and found[0].tokens
    assert_same(found, looped(model, frames, 10))


def test_poor_drafts_are_given_up_after_the_trial():
    """The predictor decides everything: no second step of a draft is right."""
    model = Speaker(3, durations=(0, 1, 2)).always(1)
    with torch.no_grad():
        model.joiner.pred.bias[:] = 50.0  # AR emits token 1, NAR token 2
        model.joiner.out.weight[1] = 1.0
        model.joiner.out.weight[2:5] = -1.0
        model.joiner.out.bias[2] += 400.0
        model.joiner.out.bias[0] -= 1000.0
    frames = frames_of(model, *encoder_output(5, [96]))
    found, rounds = rounds_of(model, frames, MIN_PROBABILITY=0.0)
    assert rounds == speculative.TRIAL
    assert_same(found, looped(model, frames, 10))


@pytest.mark.parametrize("kind, layers", [("lstm", 1), ("lstm", 2), ("stateless", 1), ("concat", 1)])
def test_unrolled_predictors_equal_their_steps(kind, layers):
    predictor = Speaker(1, predictor=kind, layers=layers).predictor
    tokens, state = torch.tensor([[0, 1, 2, 1], [3, 3, 4, 2]]), predictor.initial_state(2, dtype=torch.float64)
    with torch.no_grad():
        state = predictor.step(torch.tensor([1, 2]), state)[1]
        outputs, states = predictor.unroll(tokens, state)
        for k in range(4):
            output, state = predictor.step(tokens[:, k], state)
            torch.testing.assert_close(outputs[:, k], output, rtol=0, atol=1e-12)
            for whole, one in zip(states, state):
                torch.testing.assert_close(whole[:, k], one, rtol=0, atol=1e-12)
