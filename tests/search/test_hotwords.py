"""Hotwords in every search, against looking for every phrase at every place of every text."""

import math
from dataclasses import replace
from functools import partial

import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2 import Recognizer
from hainan_k2.fsa.language.hotwords import HotwordGraph
from hainan_k2.result import WORD_START
from hainan_k2.search import METHODS, DecodingResources, SearchConfig, choose_methods
from tests.oracles import search as oracle
from tests.oracles.hotwords import hotwords, paid, token_bias
from tests.oracles.search import Speaker, batches, encoder_output, shape
from tests.search.test_methods import assert_same, check_alone_and_in_a_batch, resources_for
from tests.toy import ROOT

WHOLE = dict(lattice_beam=math.inf, lattice_states=10**6)  # nothing is pruned
BIASED = [method for method in METHODS.values() if "hotwords" in method.uses and not method.needs]


def able(methods):
    """Those that run here."""
    names = choose_methods(["all"])
    return [method for method in methods if method.name in names]


@st.composite
def biased_batches(draw):
    """(model, encoder output, lens), ({ids: weight}, starts_word)"""
    batch = draw(batches(max_frames=12))
    return batch, draw(hotwords(batch[0].vocab_size))


@settings(max_examples=25, deadline=None)
@given(biased_batches(), st.booleans())
def test_hotwords_of_weight_0_change_nothing(drawn, by_scale):
    batch, (phrases, starts) = drawn
    graph = HotwordGraph.build(phrases if by_scale else dict.fromkeys(phrases, 0.0), starts)
    options = SearchConfig(sar_rounds=2, top_k=2, hotword_scale=0.0 if by_scale else 2.0, **WHOLE)
    for method in able(BIASED):
        plain, biased = (method.function(*batch, options, DecodingResources(hotwords=g)) for g in (None, graph))
        # a text is scored in a band of alignments, which depends a little on the other texts of its list
        tolerance = 1e-3 if method.name in ("nbest-ar", "rescore") else 1e-5
        for a, b in zip(plain, biased):
            assert_same(a, b, tolerance)


@settings(max_examples=30, deadline=None)
@given(biased_batches(), st.sampled_from((1, 4)))
def test_greedy_and_refining_searches_equal_the_reference(drawn, max_symbols):
    (model, encoded, lens), (phrases, starts) = drawn
    resources, bias = DecodingResources(hotwords=HotwordGraph.build(phrases, starts)), token_bias(phrases)
    options = SearchConfig(max_symbols=max_symbols, sar_rounds=3)
    greedy, sar = (METHODS[name].function(model, encoded, lens, options, resources) for name in ("ar-greedy", "sar"))
    for hypothesis, refined, row, length in zip(greedy, sar, encoded, lens):
        tokens, score = oracle.ar_greedy(model, row[:length], max_symbols, bias)
        assert shape(hypothesis) == tokens
        assert hypothesis.score == pytest.approx(score + paid(phrases, starts, hypothesis.ids), abs=1e-9)
        start, _ = oracle.nar_greedy(model, row[:length])
        assert shape(refined) == oracle.refine(model, row[:length], start, 3, bias)[0]


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), hotwords(3), st.sampled_from((((1, 2, 3), 3), ((0, 1, 2), 1))))
def test_a_beam_of_everything_adds_what_every_text_is_paid(seed, drawn, kind):
    durations, max_symbols = kind
    model = Speaker(seed, 3, durations, blank_bias=0.0)
    encoded, lens = encoder_output(seed, [3, 0, 2])
    options = SearchConfig(max_symbols=max_symbols, beam=10**4, beam_durations=9, nbest=10**4, hotword_scale=0.5)
    resources = DecodingResources(hotwords=HotwordGraph.build(*drawn))
    for hypothesis, row, length in zip(
        METHODS["ar-beam"].function(model, encoded, lens, options, resources), encoded, lens
    ):
        texts = oracle.all_texts(model, row[:length], max_symbols)
        expected = {ids: score + 0.5 * paid(*drawn, ids) for ids, score in texts.items()}
        assert {h.ids: h.score for h in hypothesis.alternatives} == pytest.approx(expected, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), hotwords(4), st.sampled_from(((1, 2, 3), (0, 1), (1, 3), (2,))))
def test_viterbi_and_nbest_find_the_best_paid_path_and_text(seed, drawn, durations):
    pytest.importorskip("k2")
    model = Speaker(seed, 4, durations, blank_bias=0.0)
    encoded, lens = encoder_output(seed, [4, 0, 3])
    options = SearchConfig(top_k=9, hotword_scale=1.5, num_paths=200, **WHOLE)
    resources = DecodingResources(hotwords=HotwordGraph.build(*drawn))
    viterbi, nbest = (METHODS[name].function(model, encoded, lens, options, resources) for name in ("viterbi", "nbest"))
    for path, text, row, length in zip(viterbi, nbest, encoded, lens):
        paths = list(oracle.nar_paths(*oracle.nar_tables(model, row[:length]), model.durations))
        scores, mass = [], {}
        for tokens, score in paths:
            ids = tuple(id for id, _ in tokens)
            extra = 1.5 * paid(*drawn, ids)
            scores.append(score + extra)
            mass[ids] = mass.get(ids, 0.0) + math.exp(score + extra)
        assert path.score == pytest.approx(max(scores), abs=1e-4)
        assert [(t.id, t.frame) for t in path.tokens] in [
            p for p, s in zip((p for p, _ in paths), scores) if s > max(scores) - 1e-4
        ]
        assert text.score == pytest.approx(math.log(max(mass.values())), abs=1e-4)
        assert mass[text.ids] == pytest.approx(max(mass.values()), rel=1e-4)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), hotwords(4))
def test_a_language_model_and_hotwords_are_added(seed, drawn):
    model = Speaker(seed, 4, (1, 2), blank_bias=0.0)
    encoded, lens = encoder_output(seed, [4, 2])
    method, options = METHODS["viterbi-lm"], SearchConfig(top_k=9, lm_scale=0.7, hotword_scale=1.5, **WHOLE)
    resources = replace(resources_for(method, model), hotwords=HotwordGraph.build(*drawn))
    for hypothesis, row, length in zip(method.function(model, encoded, lens, options, resources), encoded, lens):
        scores = []
        for tokens, score in oracle.nar_paths(*oracle.nar_tables(model, row[:length]), model.durations):
            ids = [id for id, _ in tokens]
            scores.append(score + 0.7 * resources.lm.score([ids]).item() + 1.5 * paid(*drawn, ids))
        assert hypothesis.score == pytest.approx(max(scores), abs=1e-4)


@settings(max_examples=15, deadline=None)
@given(biased_batches())
def test_an_utterance_does_not_notice_its_batch(drawn):
    batch, phrases = drawn
    resources = DecodingResources(hotwords=HotwordGraph.build(*phrases))
    for method in able(BIASED):

        def biased(*args, search=method.function):
            return search(*args[:4], resources)

        check_alone_and_in_a_batch(replace(method, function=biased), *batch)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), hotwords(4), st.sampled_from((0.5, 2.0, 8.0)), st.integers(1, 4))
def test_a_pruned_viterbi_search_with_hotwords_lies_between_the_plain_one_and_the_exact(seed, drawn, beam, states):
    """Whatever the limits: hotwords cost no more acoustic score than they pay, so they cannot drop audio."""
    model, method = Speaker(seed, 4, (1, 2, 3), blank_bias=0.0), METHODS["viterbi"]
    encoded, lens = encoder_output(seed, [4, 0, 3])
    options = SearchConfig(top_k=9, hotword_scale=4.0, lattice_beam=beam, lattice_states=states)
    plain = method.function(model, encoded, lens, options)
    pruned = method.function(model, encoded, lens, options, DecodingResources(hotwords=HotwordGraph.build(*drawn)))
    for row, length, low, high in zip(encoded, lens, plain, pruned):
        paths = oracle.nar_paths(*oracle.nar_tables(model, row[:length]), model.durations)
        exact = max(score + 4.0 * paid(*drawn, [id for id, _ in tokens]) for tokens, score in paths)
        assert low.score - 1e-4 <= high.score <= exact + 1e-4


@pytest.fixture(scope="module")
def jfk():
    """(the released model's recognizer, its encoder output for 11 s of speech with 22 words, lens)"""
    samples, _ = soundfile.read(ROOT / "tests" / "data" / "jfk.flac", dtype="float32")
    recognizer = Recognizer.load("released", device="cpu")
    return recognizer, *recognizer.encode([samples])


@pytest.mark.parametrize(
    "method, phrase",
    [
        ("viterbi", "ask not what kubernetes the fellow"),
        ("ar-beam", "ask not what kubernetes the fellow"),
        ("ar-beam", "and so my grace fellow americans"),
    ],
)
def test_an_unfinished_phrase_does_not_silence_the_rest(jfk, method, phrase):
    recognizer, encoded, lens = jfk
    if method not in choose_methods(["all"]):
        pytest.skip("needs k2")
    pieces, ids = recognizer.tokenizer.pieces, tuple(recognizer.tokenizer.encode(phrase))
    graph = HotwordGraph.build({ids: 1.0}, [piece.startswith(WORD_START) for piece in pieces])
    options = SearchConfig(hotword_scale=4.0, top_k=20, lattice_states=300)
    (hypothesis,) = METHODS[method].function(
        recognizer.model, encoded, lens, options, DecodingResources(hotwords=graph)
    )
    words = hypothesis.with_words(pieces).words
    assert 20 <= len(words) <= 24 and "what you can do for your" in " ".join(word.text for word in words)


class Parrot(Speaker):
    """Says what the encoder output has the logits of, every token for one frame."""

    def __init__(self):
        super().__init__(0, 5, (1, 2))
        self.joiner.project_encoder = lambda encoded: encoded
        self.joiner.logits = self.repeat

    def repeat(self, frames, predicted):
        shape = frames.shape if predicted is None else torch.broadcast_shapes(frames.shape, (*predicted.shape[:-1], 1))
        return torch.nn.functional.pad(frames.expand(shape), (0, 1), value=-99.0)


def test_every_search_finds_the_phrase_that_was_nearly_heard_and_not_half_of_it():
    likely, less_likely, unlikely = 0.0, -2.0, -9.0
    blank = [likely] + [unlikely] * 4
    rows = torch.tensor(
        [
            [unlikely, likely, unlikely, less_likely, unlikely],  # 1, or perhaps 3
            blank,
            [unlikely, unlikely, likely, unlikely, less_likely],  # 2, or perhaps 4
            blank,
        ]
    )
    encoded = torch.cat([rows, rows.new_zeros(4, 1)], dim=1)[None].double()
    whole, half = (
        DecodingResources(hotwords=HotwordGraph.build({ids: 3.0}, [False, True, True, True, True]))
        for ids in ((3, 4), (3, 4, 1))
    )
    for method in able(BIASED):
        search = partial(method.function, Parrot(), encoded, torch.tensor([4]), SearchConfig(sar_rounds=3))
        assert search()[0].ids == (1, 2)
        assert search(whole)[0].ids == (3, 4), method.name
        greedy = method.name in ("ar-greedy", "sar", "sar-viterbi")  # they take nothing back
        assert search(half)[0].ids == ((3, 4) if greedy else (1, 2)), method.name


def test_methods_that_cannot_use_hotwords_say_so(caplog):
    resources = DecodingResources(hotwords=HotwordGraph.build({(1,): 1.0}, [False, True]))
    assert choose_methods(["nar-greedy", "ar-greedy"], resources) == ["nar-greedy", "ar-greedy"]
    assert caplog.messages == ["--hotwords is not used by nar-greedy"]


def test_a_negative_scale_is_refused():
    with pytest.raises(ValueError, match="hotword_scale is -1.0"):
        SearchConfig(hotword_scale=-1.0)
