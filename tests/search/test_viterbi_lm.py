from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.language.hotwords import HotwordGraph
from hainan_k2.fsa.language.ngram import NgramLm
from hainan_k2.fsa.lattices import paths
from hainan_k2.search import DecodingResources, SearchConfig
from hainan_k2.search.viterbi import viterbi
from hainan_k2.search.viterbi_lm import NO_PATH, viterbi_lm
from tests.oracles.lm import SYMBOLS, DictionaryLm, language_models, token_passing
from tests.oracles.search import Speaker, batches, encoder_output, nar_tables, shape


@pytest.fixture(scope="module", autouse=True, params=["k2", "torch"])
def backend(request):
    """The last step, the best path over arcs, by k2 and by torch."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "torch":
            patch.setattr(paths, "why_no_k2", lambda: "k2 is hidden by this test")
        else:
            pytest.importorskip("k2")
        yield


WIDE = {"top_k": 9, "lattice_beam": 1000.0, "lattice_states": 10**6}


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm")
    return lambda lm: NgramLm.read(lm.write(folder / "lm.arpa"), SYMBOLS)


def assert_same(a, b):
    assert shape(a) == shape(b) and a.num_frames == b.num_frames
    assert a.score == pytest.approx(b.score, abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(batches(max_frames=12), language_models(), st.none() | language_models(max_order=2), st.booleans())
def test_it_equals_token_passing(read, batch, lm, low, penalties):
    model, encoded, lens = batch
    options = SearchConfig(lm_scale=0.6, lodr_scale=0.2, duration_scale=0.7, **WIDE)
    if penalties:
        options = replace(options, token_bonus=0.8, blank_penalty=0.3)
    resources = DecodingResources(lm=read(lm), lodr_lm=low and read(low))
    lms = [(lm, 0.6)] + [(low, -0.2)] * (low is not None)
    plain = viterbi(model, encoded, lens, options)
    for i, hypothesis in enumerate(viterbi_lm(model, encoded, lens, options, resources)):
        tables = nar_tables(model, encoded[i, : lens[i]])
        expected = token_passing(
            *tables, model.durations, lms, scale=0.7, bonus=options.token_bonus, penalty=options.blank_penalty
        )
        if expected is None:
            assert_same(hypothesis, plain[i])
            assert hypothesis.note == NO_PATH
        else:
            assert shape(hypothesis) == expected[0] and hypothesis.note == ""
            assert hypothesis.score == pytest.approx(expected[1], abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(batches(), language_models(), st.sampled_from((1.0, 0.3)), st.integers(1, 4))
def test_with_scale_0_it_is_viterbi(read, batch, lm, duration_scale, top_k):
    options = SearchConfig(lm_scale=0.0, lodr_scale=0.0, duration_scale=duration_scale, top_k=top_k, token_bonus=0.2)
    resources = DecodingResources(lm=read(lm), lodr_lm=read(lm))
    for a, b in zip(viterbi_lm(*batch, options, resources), viterbi(*batch, options)):
        assert_same(a, b)
        assert a.note == ""
        assert [t.confidence for t in a.tokens] == pytest.approx([t.confidence for t in b.tokens], abs=1e-5)


def test_an_utterance_that_the_model_forbids_is_marked_alone(read):
    """The model has no probability for token 3, on which one utterance insists, its `top_k` being one."""
    lm = read(DictionaryLm({("<s>",): (-99.0, 0.0), ("</s>",): (-0.5, 0.0), ("▁a",): (-0.5, 0.0)}))
    model = Speaker(1, blank_bias=0.0)
    encoded, lens = encoder_output(1, [6, 0, 5])
    options = SearchConfig(top_k=1, blank_penalty=50.0)
    with torch.no_grad():
        model.joiner.out.bias[2] += 30.0
    assert [h.note for h in viterbi_lm(model, encoded, lens, options, DecodingResources(lm=lm))] == ["", "", ""]
    model.always(1, token=3)
    hypotheses = viterbi_lm(model, encoded, lens, options, DecodingResources(lm=lm))
    assert [h.note for h in hypotheses] == [NO_PATH, "", NO_PATH]
    assert hypotheses[0].ids == (3,) * 6 and hypotheses[1].ids == () and hypotheses[2].ids == (3,) * 5
    for a, b in zip(hypotheses, viterbi(model, encoded, lens, options)):
        assert shape(a) == shape(b)


def test_hotwords_and_the_model_work_together(read):
    lm = DictionaryLm({(w,): (-1.0, 0.0) for w in ("<s>", "</s>", *SYMBOLS[1:])})
    model, (encoded, lens) = Speaker(3), encoder_output(3, [20])
    options = SearchConfig(top_k=9)
    hotwords = HotwordGraph.build({(2, 3): 30.0}, [piece.startswith("▁") for piece in SYMBOLS])
    (plain,) = viterbi_lm(model, encoded, lens, options, DecodingResources(lm=read(lm)))
    (biased,) = viterbi_lm(model, encoded, lens, options, DecodingResources(lm=read(lm), hotwords=hotwords))
    assert (2, 3) not in zip(plain.ids, plain.ids[1:])
    assert (2, 3) in zip(biased.ids, biased.ids[1:]) and biased.score > plain.score
