import dataclasses
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.language.acceptor import read_acceptor
from hainan_k2.fsa.language.hotwords import HotwordGraph
from hainan_k2.fsa.language.lexicon import Lexicon
from hainan_k2.fsa.language.word_graph import spell_out
from hainan_k2.fsa.lattices.decoding_graph import DecodingGraph
from hainan_k2.search import DecodingResources, SearchConfig
from hainan_k2.search.graph import NO_PATH, graph
from hainan_k2.search.viterbi import viterbi
from tests.oracles import graph as oracle_graph
from tests.oracles import search as oracle_search
from tests.oracles.hotwords import paid
from tests.oracles.search import DURATION_SETS, Speaker, encoder_output, shape
from tests.search.test_methods import assert_same

pytest.importorskip("k2")

PIECES = ("<blk>", "▁a", "b", "▁c", "d")
WIDE = SearchConfig(lm_scale=0.6, search_beam=1e4, output_beam=1e4, max_active_states=10**6)
NARROW = SearchConfig(search_beam=3.0, output_beam=2.0, max_active_states=8, min_active_states=2)


def random_lexicon(rng):
    """Three words with one or two spellings of one to three tokens; some are shared, or begin others."""
    spellings = {(w, tuple(rng.randint(1, 4) for _ in range(rng.randint(1, 3)))) for w in (1, 2, 3) for _ in range(2)}
    return Lexicon(("<eps>", "x", "y", "z", "#0", "<s>", "</s>"), tuple(sorted(spellings)))


def openfst_text(ngrams, words):
    """The acceptor of n-grams in OpenFst text; the start is the first state named, and not 0."""
    ids = {word: i for i, word in enumerate(words)}
    states = {(): 0, ("<s>",): 1}
    for ngram, (_, backoff) in ngrams.items():
        if backoff is not None:
            states.setdefault(ngram, len(states))
    lines = []
    for ngram, (score, _) in ngrams.items():
        source = states[ngram[:-1]]
        if ngram[-1] == "</s>":
            lines.append(f"{source} {-score}")
        elif ngram != ("<s>",):
            _, target = next(oracle_graph.steps(ngrams, ngram[:-1], ngram[-1]))
            lines.append(f"{source} {states[target]} {ids[ngram[-1]]} {ids[ngram[-1]]} {-score}")
    for state, number in states.items():
        if state:
            shorter = next(state[i:] for i in range(1, len(state) + 1) if state[i:] in states)
            lines.append(f"{number} {states[shorter]} {ids['#0']} 0 {-ngrams[state][1]}")
    lines.sort(key=lambda line: line.split()[0] != "1")
    return "\n".join(lines)


def make_graph(ngrams, lexicon):
    fsa, unspelled = spell_out(read_acceptor(openfst_text(ngrams, lexicon.words), "G", len(lexicon.words)), lexicon)
    assert not len(unspelled)
    return DecodingGraph.of(fsa, lexicon.words, PIECES)


@st.composite
def problems(draw):
    """Model, encoder output of 0 to 5 frames, lens, lexicon, n-grams."""
    seed = draw(st.integers(0, 10**6))
    model = Speaker(seed, 5, draw(st.sampled_from(DURATION_SETS)), blank_bias=draw(st.sampled_from((-1.0, 1.0))))
    lens = draw(st.lists(st.integers(0, 4), min_size=1, max_size=3))
    ngrams = oracle_graph.random_ngrams(seed, "xyz", draw(st.integers(1, 3)))
    return (model, *encoder_output(seed, lens), random_lexicon(random.Random(seed)), ngrams)


@settings(max_examples=30, deadline=None)
@given(problems())
def test_the_best_path_equals_the_one_over_all_alignments_spellings_and_ways(problem):
    model, encoded, lens, lexicon, ngrams = problem
    spelled = [(lexicon.words[word], pieces) for word, pieces in lexicon.spellings]
    hypotheses = graph(model, encoded, lens, WIDE, DecodingResources(graph=make_graph(ngrams, lexicon)))
    for hypothesis, row, length in zip(hypotheses, encoded, lens.tolist()):
        assert hypothesis.note == "" and hypothesis.num_frames == length
        if not length:
            continue
        tables = oracle_search.nar_tables(model, row[:length])
        score, tokens, words = oracle_graph.best_path(*tables, model.durations, spelled, ngrams, WIDE.lm_scale)
        assert hypothesis.score == pytest.approx(score, abs=1e-3) and hypothesis.ids == tokens
        oracle_graph.assert_words(hypothesis, words, spelled, ngrams)


@settings(max_examples=15, deadline=None)
@given(problems(), st.integers(2, 4), st.sampled_from((0.0, 0.3)))
def test_the_best_texts_are_those_of_all_alignments_and_ways(problem, count, skip):
    model, encoded, lens, lexicon, ngrams = problem
    spelled = [(lexicon.words[word], pieces) for word, pieces in lexicon.spellings]
    options = dataclasses.replace(WIDE, nbest=count, skip_scale=skip)
    hypotheses = graph(model, encoded, lens, options, DecodingResources(graph=make_graph(ngrams, lexicon)))
    for hypothesis, row, length in zip(hypotheses, encoded, lens.tolist()):
        if not length:
            continue
        tables = oracle_search.nar_tables(model, row[:length])
        paths = oracle_search.nar_paths(*tables, model.durations, skip=skip)
        expected = oracle_graph.best_texts(paths, spelled, ngrams, WIDE.lm_scale)[:count]
        listed = hypothesis.alternatives
        assert listed[0].ids == hypothesis.ids and [h.ids for h in listed] == [tokens for _, tokens, _ in expected]
        assert [h.score for h in listed] == pytest.approx([score for score, _, _ in expected], abs=1e-3)
        for found, (_, _, words) in zip(listed, expected):
            oracle_graph.assert_words(found, words, spelled, ngrams)


@settings(max_examples=15, deadline=None)
@given(problems(), st.sampled_from((0.5, 4.0)))
def test_hotwords_order_the_texts_again(problem, scale):
    model, encoded, lens, lexicon, ngrams = problem
    spelled = [(lexicon.words[word], pieces) for word, pieces in lexicon.spellings]
    phrases = {(1,): 1.0, (3, 4): 0.5}
    hotwords = HotwordGraph.build(phrases, [False, True, False, True, False])
    options = dataclasses.replace(WIDE, nbest=3, num_paths=10**4, hotword_scale=scale)
    resources = DecodingResources(graph=make_graph(ngrams, lexicon), hotwords=hotwords)
    for hypothesis, row, length in zip(graph(model, encoded, lens, options, resources), encoded, lens.tolist()):
        if not length:
            continue
        paths = oracle_search.nar_paths(*oracle_search.nar_tables(model, row[:length]), model.durations)
        expected = [
            (score + scale * paid(phrases, hotwords.starts_word.tolist(), tokens), tokens)
            for score, tokens, _ in oracle_graph.best_texts(paths, spelled, ngrams, WIDE.lm_scale)
        ]
        expected.sort(key=lambda text: -text[0])
        assert [h.score for h in hypothesis.alternatives] == pytest.approx([s for s, _ in expected[:3]], abs=1e-3)
        assert hypothesis.ids == expected[0][1]


def check_alone(problem, options, resources):
    """Each utterance has the same hypothesis alone and in its batch."""
    model, encoded, lens, _, _ = problem
    for i, together in enumerate(graph(model, encoded, lens, options, resources)):
        (alone,) = graph(model, encoded[i : i + 1], lens[i : i + 1], options, resources)
        assert shape(alone) == shape(together) and alone.output == together.output and alone.note == together.note
        assert alone.score == pytest.approx(together.score, abs=1e-5)
        confidences = [[token.confidence for token in h.tokens] for h in (alone, together)]
        assert confidences[0] == pytest.approx(confidences[1], abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(problems(), st.sampled_from((WIDE, NARROW)))
def test_an_utterance_does_not_notice_its_batch(problem, options):
    check_alone(problem, options, DecodingResources(graph=make_graph(problem[4], problem[3])))


@settings(max_examples=20, deadline=None)
@given(problems())
def test_a_lexicon_of_all_tokens_and_a_scale_of_0_give_viterbi(problem):
    model, encoded, lens, _, ngrams = problem
    lexicon = Lexicon(("<eps>", "w", "x", "y", "z", "#0", "<s>", "</s>"), tuple((i, (i,)) for i in range(1, 5)))
    ngrams = oracle_graph.random_ngrams(len(ngrams), "wxyz", 2)
    options = SearchConfig(lm_scale=0.0, top_k=4, token_bonus=0.5, blank_penalty=0.3, search_beam=1e4, output_beam=1e4)
    hypotheses = graph(model, encoded, lens, options, DecodingResources(graph=make_graph(ngrams, lexicon)))
    for one, other in zip(hypotheses, viterbi(model, encoded, lens, options)):
        assert shape(one) == shape(other) and one.score == pytest.approx(other.score, abs=1e-4)


def test_words_are_the_graphs_and_times_those_of_their_tokens():
    lexicon = Lexicon(("<eps>", "2", "#0", "<s>", "</s>"), ((1, (1, 2)), (1, (3, 4, 2))))
    ngrams = oracle_graph.random_ngrams(0, "2", 2)
    encoded, lens = encoder_output(3, [12])
    options = dataclasses.replace(WIDE, token_bonus=3.0)
    (hypothesis,) = graph(Speaker(3), encoded, lens, options, DecodingResources(graph=make_graph(ngrams, lexicon)))
    words = hypothesis.with_words(PIECES).words
    assert len(words) > 1 and {word.text for word in words} == {"2"}
    spans = hypothesis.spans()
    for word, (_, first, end) in zip(words, hypothesis.output):
        assert (word.start, word.end) == pytest.approx((0.08 * spans[first][0], 0.08 * spans[end - 1][1]))
        assert word.confidence == min(token.confidence for token in hypothesis.tokens[first:end])
        assert 0.0 <= word.confidence <= 1.0


def test_what_no_path_spells_is_the_best_path_with_a_note():
    lexicon = Lexicon(("<eps>", "long", "#0", "<s>", "</s>"), ((1, (1, 2, 3)),))
    resources = DecodingResources(graph=_of_one_word(lexicon))
    model = Speaker(1, durations=(1, 2))
    encoded, lens = encoder_output(1, [2, 0, 8])
    hypotheses, free = graph(model, encoded, lens, WIDE, resources), viterbi(model, encoded, lens, WIDE)
    assert [hypothesis.note for hypothesis in hypotheses] == [NO_PATH, "", ""]
    assert shape(hypotheses[0]) == shape(free[0]) and shape(hypotheses[1]) == []
    assert hypotheses[2].ids == (1, 2, 3) and hypotheses[2].output == (("long", 0, 3),)
    (alone,) = graph(model, encoded[:1, :2], lens[:1], WIDE, resources)
    assert_same(alone, hypotheses[0])


def _of_one_word(lexicon):
    fsa, _ = spell_out(read_acceptor("0 1 1 1 0.5\n1 0.25\n", "G", len(lexicon.words)), lexicon)
    return DecodingGraph.of(fsa, lexicon.words, PIECES)


def test_a_graph_may_be_composed_beforehand_but_for_the_models_durations():
    lexicon = Lexicon(("<eps>", "long", "#0", "<s>", "</s>"), ((1, (1, 2, 3)),))
    word_graph = _of_one_word(lexicon)
    composed = DecodingGraph.of(word_graph.search_graph((1, 2)), word_graph.words, PIECES, (1, 2))
    encoded, lens = encoder_output(1, [8])
    model = Speaker(1, durations=(1, 2))
    hypotheses = [graph(model, encoded, lens, WIDE, DecodingResources(graph=g)) for g in (word_graph, composed)]
    assert hypotheses[0] == hypotheses[1]
    with pytest.raises(ValueError, match=r"for durations \(1, 2\), the model has \(0, 2\)"):
        graph(Speaker(1, durations=(0, 2)), encoded, lens, WIDE, DecodingResources(graph=composed))
    assert hypotheses[0] == graph(model, encoded, lens, WIDE, DecodingResources(graph=composed))
    assert torch.equal(word_graph.search_graph((1, 2), 0.5).scores, 0.5 * composed.fsa().scores)
