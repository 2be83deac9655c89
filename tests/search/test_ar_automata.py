"""Autoregressive search through language models, grammars and graphs, against every alignment and automaton path."""

from dataclasses import replace
from itertools import count

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.config import ModelConfig
from hainan_k2.fsa.language.automaton import Arc, Automaton
from hainan_k2.fsa.language.grammar import make_grammar
from hainan_k2.fsa.language.hotwords import HotwordGraph
from hainan_k2.fsa.language.lm_file import read_lm
from hainan_k2.fsa.language.ngram import NgramLm
from hainan_k2.fsa.lattices.decoding_graph import DecodingGraph
from hainan_k2.model.hainan import Hainan
from hainan_k2.search import METHODS, DecodingResources, SearchConfig
from hainan_k2.search import ar_predictions as module
from hainan_k2.search.ar_guide import best_ahead
from hainan_k2.search.ar_predictions import Predictions
from hainan_k2.search.beam import NO_GRAPH_PATH, NO_LM_PATH
from hainan_k2.search.emissions import Frames
from tests.oracles import ar as oracle
from tests.oracles.hotwords import hotwords, paid
from tests.oracles.lm import DictionaryLm, language_models, lm_paths
from tests.oracles.search import Speaker, batches, encoder_output, nar_tables, viterbi
from tests.oracles.words import Spelling
from tests.search.test_methods import assert_same, bigrams

search = METHODS["ar-beam"].function
EVERYTHING = SearchConfig(beam=10**4, beam_durations=9, nbest=10**4, grammar_threshold=1e9)
KINDS = (((1, 2, 3), 3), ((0, 1, 2), 2), ((0, 2), 3), ((1, 3), 10))
PIECES = ("<blk>", "▁a", "b")
VOCAB = len(PIECES)
SPELLING = Spelling({"a": (1,), "ab": (1, 2)}, PIECES)


def graph_of(automaton, pieces=PIECES):
    """The automaton as a DecodingGraph; the word of an arc is the first of its outputs."""
    words = ["<eps>", *sorted({word for arc in automaton.arcs for word in arc.output})]
    end = 1 + max(max(arc.source, arc.target) for arc in automaton.arcs)
    end = max(end, 1 + max(automaton.finals))
    rows = [(a.source, a.target, a.label, a.score, words.index(a.output[0]) if a.output else 0) for a in automaton.arcs]
    rows = sorted(rows + [(q, end, -1, score, -1) for q, score in automaton.finals.items()])
    scores = torch.tensor([row[3] for row in rows])
    arcs = torch.cat([torch.tensor([row[:3] for row in rows], dtype=torch.int32), scores.view(torch.int32)[:, None]], 1)
    return DecodingGraph(arcs, torch.tensor([row[4] for row in rows], dtype=torch.int32), tuple(words), pieces)


def made_grammar(automaton):
    """The grammar of an automaton, and the automaton of that grammar: making one merges arcs and states."""
    grammar = make_grammar(automaton, PIECES, transduces=any(arc.output for arc in automaton.arcs))
    rows = list(zip(*grammar.arcs.T.tolist(), grammar.scores.tolist()))
    arcs = [Arc(q, r, label, (grammar.outputs[o],) * (o > 0), score) for q, r, label, o, score in rows if label > 0]
    return grammar, Automaton(0, tuple(arcs), {q: score for q, _, label, _, score in rows if label == -1})


@st.composite
def automata(draw, folder, kinds=("none", "lm", "words", "lodr", "grammar", "graph", "hotwords", "grammar and lm")):
    """(resources, ids -> [(score, outputs)]): resources and what a SearchConfig of scales 0.6 and 0.3 makes of them."""
    kind = draw(st.sampled_from(kinds))
    seed = draw(st.integers(0, 10**6))
    if kind == "none":
        return DecodingResources(), oracle.no_automaton
    if kind == "hotwords":
        phrases, starts = draw(hotwords(VOCAB))
        return DecodingResources(hotwords=HotwordGraph.build(phrases, starts)), lambda ids: [
            (paid(phrases, starts, ids), ())
        ]
    if kind in ("grammar", "graph"):
        automaton = oracle.random_automaton(seed, VOCAB, outputs=("x", "y"))
        if kind == "grammar":
            grammar, automaton = made_grammar(automaton)
            return DecodingResources(grammar=grammar), lambda ids: oracle.readings(automaton, ids)
        return DecodingResources(graph=graph_of(automaton)), lambda ids: [
            (0.6 * score, outputs) for score, outputs in oracle.readings(automaton, ids)
        ]
    if kind == "words":
        words = draw(language_models(("<eps>", "<unk>", "a", "ab"), 3))
        words.ngrams.setdefault(("ab",), (-0.5, 0.0))
        lm = read_lm(words.write(folder / "words.arpa"), PIECES, lambda word: list(SPELLING.spelled[word]))
        words = SPELLING.with_unknown(words)
        return DecodingResources(lm=lm), lambda ids: [(0.6 * SPELLING.score(words, ids), ())]
    reference, smaller = (draw(language_models(PIECES, 3)) for _ in range(2))
    path = folder / f"{next(numbers)}.arpa"
    lm, lodr = (NgramLm.read(r.write(path.with_suffix(s)), PIECES) for r, s in ((reference, ".a"), (smaller, ".b")))

    weights = [(reference, 0.6), (smaller, -0.3)] if kind == "lodr" else [(reference, 0.6)]

    def lm_score(ids):
        ((_, score),) = lm_paths([([(i, 0) for i in ids], 0.0)], weights, PIECES)
        return score

    if kind != "grammar and lm":
        return DecodingResources(lm=lm, lodr_lm=lodr if kind == "lodr" else None), lambda ids: [(lm_score(ids), ())]
    grammar, automaton = made_grammar(oracle.random_automaton(seed, VOCAB))
    return DecodingResources(grammar=grammar, lm=lm), lambda ids: [
        (score + lm_score(ids), outputs) for score, outputs in oracle.readings(automaton, ids)
    ]


numbers = count()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("lms")


@settings(max_examples=25, deadline=None)
@given(data=st.data(), seed=st.integers(0, 10**6), kind=st.sampled_from(KINDS), guide=st.sampled_from(("nar", "none")))
def test_a_beam_of_everything_has_the_score_of_every_text(folder, data, seed, kind, guide):
    durations, max_symbols = kind
    resources, score_of = data.draw(automata(folder))
    predictor = data.draw(st.sampled_from(("lstm", "stateless")))
    model = Speaker(seed, VOCAB, durations, predictor, blank_bias=0.0)
    encoded, lens = encoder_output(seed, [3, 1, 0, 2])
    options = replace(
        EVERYTHING, max_symbols=max_symbols, guide=guide, lm_scale=0.6, lodr_scale=0.3, duration_scale=0.7
    )
    options = replace(options, blank_penalty=0.2, token_bonus=0.3)
    for hypothesis, row, length in zip(search(model, encoded, lens, options, resources), encoded, lens):
        alignments = oracle.paths(model, row[:length], max_symbols, 0.7, 0.2, 0.3)
        _, _, expected = oracle.total_and_best(alignments, score_of)
        if not expected:
            assert hypothesis.note or resources.grammar is not None
            continue
        assert hypothesis.note == ""
        assert {h.ids: h.score for h in hypothesis.alternatives} == pytest.approx(expected, abs=1e-4)
        assert hypothesis.ids == hypothesis.alternatives[0].ids
        for listed in hypothesis.alternatives:
            if listed.output is not None:
                words = [tuple(w for out in outputs for w in out) for _, outputs in score_of(listed.ids)]
                assert tuple(word for word, _, _ in listed.output) in words


@settings(max_examples=15, deadline=None)
@given(data=st.data(), batch=batches(max_frames=10), guide=st.sampled_from(("nar", "none")), context=st.integers(0, 2))
def test_an_utterance_does_not_notice_its_batch(folder, data, batch, guide, context):
    model, encoded, lens = batch
    model = Speaker(data.draw(st.integers(0, 10**6)), VOCAB, model.durations, blank_bias=0.5)
    resources, _ = data.draw(automata(folder))
    options = SearchConfig(beam=3, guide=guide, context_tokens=context, nbest=2, lm_scale=0.6, lodr_scale=0.3)
    together = search(model, encoded, lens, options, resources)
    for i, length in enumerate(lens.tolist()):
        (alone,) = search(model, encoded[i : i + 1, :length], lens[i : i + 1], options, resources)
        assert_same(alone, together[i])
        assert alone.output == together[i].output and alone.note == together[i].note


def everything(vocab_size):
    """An automaton of one state that accepts every text with score 0."""
    return Automaton(0, tuple(Arc(0, 0, token) for token in range(1, vocab_size)), {0: 0.0})


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(KINDS),
    st.sampled_from(("nar", "none")),
    st.sampled_from(("lstm", "stateless")),
)
def test_a_grammar_or_graph_of_everything_and_a_language_model_of_scale_0_change_nothing(seed, kind, guide, predictor):
    model = Speaker(seed, VOCAB, kind[0], predictor, blank_bias=0.5)
    encoded, lens = encoder_output(seed, [14, 0, 9])
    automaton = everything(VOCAB)
    options = SearchConfig(max_symbols=kind[1], beam=3, guide=guide, nbest=3)
    plain = search(model, encoded, lens, options)
    unused = DecodingResources(lm=bigrams(VOCAB), lodr_lm=bigrams(VOCAB))
    for resources, changed in (
        (DecodingResources(grammar=make_grammar(automaton, PIECES, transduces=False)), options),
        (DecodingResources(graph=graph_of(automaton)), options),
        (unused, replace(options, lm_scale=0.0, lodr_scale=0.0)),
    ):
        for expected, found in zip(plain, search(model, encoded, lens, changed, resources)):
            assert_same(expected, found)
            assert found.note == ""


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(KINDS), st.sampled_from(("lstm", "stateless")))
def test_merging_by_context_loses_alignments_but_not_the_best_one(seed, kind, predictor):
    model = Speaker(seed, VOCAB, kind[0], predictor, blank_bias=0.0)
    encoded, lens = encoder_output(seed, [3, 1, 0, 2])
    options = replace(EVERYTHING, max_symbols=kind[1], context_tokens=1)
    last = 1 if predictor == "lstm" else model.predictor.context
    for hypothesis, row, length in zip(search(model, encoded, lens, options), encoded, lens):
        alignments = list(oracle.paths(model, row[:length], kind[1]))
        _, best, totals = oracle.total_and_best(alignments)
        scores = {h.ids: h.score for h in hypothesis.alternatives}
        assert len(scores) == len({ids[-last:] for ids in scores})
        assert all(score < totals[ids] + 1e-9 for ids, score in scores.items())
        assert predictor == "lstm" or hypothesis.score > best - 1e-9


def test_a_context_that_does_not_fit_is_refused():
    encoded, lens = encoder_output(0, [3])
    with pytest.raises(ValueError, match="context_tokens 32: the search compares at most 31 tokens"):
        search(Speaker(0, 4), encoded, lens, SearchConfig(context_tokens=32))


def test_a_model_without_encoder_only_joint_cannot_guide():
    model = Hainan(ModelConfig.preset("tiny", vocab_size=6, predictor_masking=False)).eval()
    encoded, lens = encoder_output(0, [3], model.config.d_model)
    assert len(search(model, encoded.float(), lens, SearchConfig())) == 1
    with pytest.raises(ValueError, match="guide nar needs an encoder-only joint"):
        search(model, encoded.float(), lens, SearchConfig(guide="nar"))


def test_a_grammar_with_a_graph_is_refused():
    automaton = everything(VOCAB)
    resources = DecodingResources(grammar=make_grammar(automaton, PIECES, False), graph=graph_of(automaton))
    with pytest.raises(ValueError, match="one of --grammar and --graph"):
        search(Speaker(0, VOCAB), *encoder_output(0, [3]), SearchConfig(), resources)


def test_a_graph_for_durations_is_refused():
    graph = replace(graph_of(everything(VOCAB)), durations=(0, 1))
    with pytest.raises(ValueError, match="without --durations"):
        search(Speaker(0, VOCAB), *encoder_output(0, [3]), SearchConfig(), DecodingResources(graph=graph))


def test_what_the_language_model_or_the_graph_does_not_allow_is_searched_without_them(tmp_path):
    model = Speaker(3, VOCAB, (1,), blank_bias=0.0)
    encoded, lens = encoder_output(3, [6, 9])
    seven = Automaton(0, tuple(Arc(q, q + 1, 1 + q % 2) for q in range(7)), {7: 0.0})  # tokens: one frame too few
    options = SearchConfig(beam=30)  # 240 where nothing is found
    plain = search(model, encoded, lens, options)
    for resources, note in (
        (DecodingResources(graph=graph_of(seven)), NO_GRAPH_PATH),
        (DecodingResources(lm=no_end(tmp_path)), NO_LM_PATH),
    ):
        first, second = search(model, encoded, lens, options, resources)
        assert (first.ids, first.score, first.note) == (plain[0].ids, plain[0].score, note)
        assert second.note == (note if resources.graph is None else "")
        assert second.ids == (plain[1].ids if resources.graph is None else (1, 2, 1, 2, 1, 2, 1))
    resources = DecodingResources(grammar=make_grammar(seven, PIECES, False))
    outside = search(model, encoded, lens, options, resources)[0]
    assert outside.ids == () and outside.note == "outside the grammar (no path in it fits)"
    outside = search(model, encoded, lens, replace(options, grammar_fallback=True), resources)[0]
    assert outside.ids == plain[0].ids and outside.note == "outside the grammar: ar-beam instead (no path in it fits)"


def no_end(folder):
    """A language model that gives no sentence a probability."""
    reference = DictionaryLm({("<s>",): (-99.0, 0.0), ("▁a",): (-1.0, 0.0), ("b",): (-1.0, 0.0)})
    return NgramLm.read(reference.write(folder / "no_end.arpa"), PIECES)


@settings(max_examples=30, deadline=None)
@given(batches(max_frames=12))
def test_the_guide_is_the_best_of_what_the_encoder_expects(batch):
    model, encoded, lens = batch
    options = SearchConfig(duration_scale=0.7, blank_penalty=0.2, token_bonus=0.3)
    ahead = best_ahead(model, Frames.pack(encoded, lens).map(model.joiner.project_encoder), options)
    for b, length in enumerate(lens.tolist()):
        tables = nar_tables(model, encoded[b, :length])
        for t in range(length + 1):
            _, score = viterbi(tables[0][t:], tables[1][t:], model.durations, 0.7, 0.2, 0.3)
            assert float(ahead[t, b]) == pytest.approx(score, abs=1e-9)


def test_predictions_are_kept_as_long_as_hypotheses_refer_to_them(monkeypatch):
    model = Speaker(5, 6, (0, 1, 2), blank_bias=0.0)
    encoded, lens = encoder_output(5, [120])
    options = SearchConfig(nbest=4)
    expected = search(model, encoded, lens, options)[0]
    sizes = []

    def keep(self, rows):
        sizes.append(len(rows.unique()))
        return whole(self, rows)

    whole = Predictions.keep
    monkeypatch.setattr(module, "ROWS", 8)
    monkeypatch.setattr(Predictions, "keep", keep)
    assert_same(search(model, encoded, lens, options)[0], expected)
    assert len(sizes) > 2 and max(sizes) <= 5
