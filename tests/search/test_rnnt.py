"""Autoregressive searches of an RNN-T, a TDT of the only duration 0, give what RNN-T searches give."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.search import METHODS, SearchConfig
from hainan_k2.search.ar_stream import StreamingBeam
from hainan_k2.search.streaming import StreamingGreedy
from tests.oracles import search as oracle
from tests.oracles.search import Speaker, encoder_output


@st.composite
def batches(draw):
    predictor, layers = draw(st.sampled_from((("lstm", 1), ("lstm", 2), ("stateless", 1), ("concat", 1))))
    options = {"objective": "rnnt", "predictor_context": draw(st.integers(1, 3)), "predictor_norm": draw(st.booleans())}
    bias = draw(st.sampled_from((-1.0, 1.0, 3.0)))
    model = Speaker(draw(st.integers(0, 10**6)), draw(st.integers(2, 6)), (0,), predictor, layers, bias, **options)
    lens = draw(st.lists(st.integers(0, 12), min_size=1, max_size=3))
    return (model, *encoder_output(draw(st.integers(0, 10**6)), lens))


@settings(max_examples=80, deadline=None)
@given(batches(), st.sampled_from((1, 3, 10)))
def test_greedy_search(batch, max_symbols):
    model, encoded, lens = batch
    options = SearchConfig(max_symbols=max_symbols, beam=1, beam_durations=1)
    for name in ("ar-greedy", "ar-beam"):
        if name == "ar-beam" and max_symbols < 10:
            continue  # the sum over alignments may prefer another text
        hypotheses = METHODS[name].function(model, encoded, lens, options)
        for hypothesis, frames, length in zip(hypotheses, encoded, lens.tolist()):
            expected = oracle.rnnt_greedy(model, frames[:length], max_symbols)
            assert [(token.id, token.frame) for token in hypothesis.tokens] == expected
            assert all(token.duration == 0 for token in hypothesis.tokens)


@settings(max_examples=30, deadline=None)
@given(batches())
def test_a_stream(batch):
    model, encoded, lens = batch
    frames = encoded[0, : int(lens[0])]
    for search in (StreamingGreedy(model, SearchConfig()), StreamingBeam(model, SearchConfig(beam=1))):
        tokens = [token for piece in frames.split(3) for token in search.accept(piece)] if len(frames) else []
        tokens += search.finish()
        assert [(token.id, token.frame) for token in tokens] == oracle.rnnt_greedy(model, frames, 10)


@pytest.mark.parametrize("batch_size", [1, 12])
def test_unmasked_models_are_searched_by_label_looping(batch_size, monkeypatch):
    from hainan_k2.search import greedy

    encoded, lens = encoder_output(3, [20] * batch_size)
    masked, unmasked = Speaker(3), Speaker(3, predictor_masking=False)
    expected = METHODS["ar-greedy"].function(masked, encoded, lens, SearchConfig())
    monkeypatch.setattr(greedy, "speculate", lambda *args: pytest.fail("a draft of an untrained joint"))
    found = METHODS["ar-greedy"].function(unmasked, encoded, lens, SearchConfig())
    assert [h.ids for h in found] == [h.ids for h in expected]
    assert [h.score for h in found] == pytest.approx([h.score for h in expected])
    assert torch.equal(masked.joiner.out.weight, unmasked.joiner.out.weight)
