"""ctc-lm and ctc-graph equal the enumeration of all labellings of the frames."""

import dataclasses
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.language.hotwords import HotwordGraph
from hainan_k2.fsa.language.ngram import NgramLm
from hainan_k2.fsa.lattices import paths
from hainan_k2.search import DecodingResources, SearchConfig
from hainan_k2.search.ctc import ctc_greedy
from hainan_k2.search.ctc_graph import ctc_graph
from hainan_k2.search.ctc_lm import ctc_lm
from hainan_k2.search.viterbi_lm import NO_PATH
from tests.oracles import graph as oracle_graph
from tests.oracles import search as oracle
from tests.oracles.lm import SYMBOLS, DictionaryLm, language_models, lm_paths
from tests.oracles.search import Speaker, encoder_output, shape
from tests.search.test_graph import make_graph, random_lexicon

WIDE = SearchConfig(lm_scale=0.6, lodr_scale=0.2, top_k=9, lattice_beam=1e3, lattice_states=10**6)
UNPRUNED = SearchConfig(lm_scale=0.6, search_beam=1e4, output_beam=1e4, max_active_states=10**6)
PRIORS = st.sampled_from(({}, {"token_bonus": 0.8, "blank_penalty": 0.3}))


@pytest.fixture(params=["k2", "torch"])
def backend(request, monkeypatch):
    """The last step of ctc-lm, the best path over arcs, by k2 and by torch."""
    if request.param == "torch":
        monkeypatch.setattr(paths, "why_no_k2", lambda: "k2 is hidden by this test")
    else:
        pytest.importorskip("k2")


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm")
    return lambda lm: NgramLm.read(lm.write(folder / "lm.arpa"), SYMBOLS)


@st.composite
def batches(draw, longest=4):
    """A model of 5 tokens, encoder output of 0 to `longest` frames, lens."""
    seed, lens = draw(st.integers(0, 10**6)), draw(st.lists(st.integers(0, longest), min_size=1, max_size=3))
    return (Speaker(seed, 5), *encoder_output(seed, lens))


@settings(max_examples=15, deadline=None)
@given(batches(), language_models(), st.none() | language_models(max_order=2), PRIORS)
def check_against_all_labellings(read, batch, lm, low, priors):
    model, encoded, lens = batch
    resources = DecodingResources(lm=read(lm), lodr_lm=low and read(low))
    bonus, penalty = priors.get("token_bonus", 0.0), priors.get("blank_penalty", 0.0)
    hypotheses = ctc_lm(model, encoded, lens, dataclasses.replace(WIDE, **priors), resources)
    greedy = ctc_greedy(model, encoded, lens, WIDE)
    for hypothesis, plain, row, length in zip(hypotheses, greedy, encoded, lens.tolist()):
        labellings = list(oracle.ctc_paths(model, row[:length], bonus, penalty))
        texts = [([token[:2] for token in tokens], score) for tokens, score in labellings]
        scored = lm_paths(texts, [(lm, 0.6)] + [(low, -0.2)] * (low is not None))
        score, tokens = max((score, tokens) for (_, score), (tokens, _) in zip(scored, labellings))
        if score == -float("inf"):
            assert hypothesis.note == NO_PATH and shape(hypothesis) == shape(plain)
            continue
        assert hypothesis.score == pytest.approx(score, abs=1e-4) and not hypothesis.note
        assert shape(hypothesis) == tokens and hypothesis.num_frames == length
        assert all(0.0 <= token.confidence <= 1.0 for token in hypothesis.tokens)


def test_ctc_lm_equals_all_labellings(backend, read):
    check_against_all_labellings(read)


def test_hotwords_count_once_per_token(read):
    pytest.importorskip("k2")
    lm = read(DictionaryLm({("<s>",): (-99.0, 0.0), ("</s>",): (0.0, 0.0), ("<unk>",): (0.0, 0.0)}))
    model, (encoded, lens) = Speaker(3, 5), encoder_output(3, [4])
    hotwords = HotwordGraph.build({(2, 3): 1.0}, [False, False, True, False, False])
    options = dataclasses.replace(WIDE, lm_scale=0.5, hotword_scale=9.0)
    (hypothesis,) = ctc_lm(model, encoded, lens, options, DecodingResources(lm=lm, hotwords=hotwords))
    found = {}
    for tokens, score in oracle.ctc_paths(model, encoded[0]):
        ids = tuple(token for token, *_ in tokens)
        pairs = sum(ids[i : i + 2] == (2, 3) and ids[i + 2 : i + 3] in ((), (2,)) for i in range(len(ids)))
        found[ids] = max(found.get(ids, -1e9), score + 18.0 * pairs)
    assert hypothesis.ids == max(found, key=found.get) == (2, 3, 2, 3)
    assert hypothesis.score == pytest.approx(found[2, 3, 2, 3], abs=1e-4)


@settings(max_examples=20, deadline=None)
@given(batches(), st.integers(0, 10**6), st.integers(1, 3), PRIORS)
def test_ctc_graph_equals_all_labellings_spellings_and_ways(batch, seed, order, priors):
    pytest.importorskip("k2")
    model, encoded, lens = batch
    lexicon, ngrams = random_lexicon(random.Random(seed)), oracle_graph.random_ngrams(seed, "xyz", order)
    spelled = [(lexicon.words[word], pieces) for word, pieces in lexicon.spellings]
    options = dataclasses.replace(UNPRUNED, nbest=3, **priors)
    bonus, penalty = priors.get("token_bonus", 0.0), priors.get("blank_penalty", 0.0)
    resources = DecodingResources(graph=make_graph(ngrams, lexicon))
    for hypothesis, row, length in zip(ctc_graph(model, encoded, lens, options, resources), encoded, lens.tolist()):
        assert not hypothesis.note and hypothesis.num_frames == length
        if not length:
            continue
        labellings = list(oracle.ctc_paths(model, row[:length], bonus, penalty))
        expected = oracle_graph.best_texts(labellings, spelled, ngrams, 0.6)[:3]
        assert [h.ids for h in hypothesis.alternatives] == [tokens for _, tokens, _ in expected]
        assert [h.score for h in hypothesis.alternatives] == pytest.approx([score for score, *_ in expected], abs=1e-3)
        oracle_graph.assert_words(hypothesis, expected[0][2], spelled, ngrams)
        of_text = [labelling for labelling in labellings if tuple(t for t, *_ in labelling[0]) == hypothesis.ids]
        assert shape(hypothesis) == max(of_text, key=lambda labelling: labelling[1])[0]


def test_a_graph_composed_with_the_tdt_topology_is_refused():
    pytest.importorskip("k2")
    lexicon, ngrams = random_lexicon(random.Random(1)), oracle_graph.random_ngrams(1, "xyz", 2)
    word_graph = make_graph(ngrams, lexicon)
    composed = dataclasses.replace(word_graph, durations=(0, 1))
    encoded, lens = encoder_output(1, [3])
    with pytest.raises(ValueError, match="this search needs LG alone"):
        ctc_graph(Speaker(1, 5), encoded, lens, UNPRUNED, DecodingResources(graph=composed))
