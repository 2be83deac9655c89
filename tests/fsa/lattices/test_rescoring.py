"""Lattices of word graphs with the scores of a larger language model, against all alignments of all word sequences."""

import dataclasses
import math
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.language.acceptor import read_acceptor
from hainan_k2.fsa.language.lexicon import Lexicon
from hainan_k2.fsa.language.word_graph import spell_out
from hainan_k2.fsa.language.word_lm import WordLm
from hainan_k2.fsa.lattices.composition import path_sums
from hainan_k2.fsa.lattices.decoding_graph import DecodingGraph
from hainan_k2.fsa.lattices.nar_lattice import nar_lattice
from hainan_k2.fsa.lattices.nbest import best_texts
from hainan_k2.fsa.lattices.paths import shortest_path
from hainan_k2.fsa.lattices.rescoring import rescore_lattice
from hainan_k2.search.graph import graph_lattice
from tests.oracles import graph as oracle_graph
from tests.oracles import search as oracle_search
from tests.oracles.lm import DictionaryLm, language_models
from tests.oracles.search import Speaker, encoder_output
from tests.search.test_graph import PIECES, WIDE, make_graph, problems, random_lexicon

pytest.importorskip("k2")

WORDS = ("<eps>", "<unk>", "x", "y", "z", "elsewhere")  # the graphs have x, y and z
NGRAMS = oracle_graph.random_ngrams(1, "xyz", 2)
UNIGRAMS = DictionaryLm({(word,): (-0.5, 0.0) for word in ("<s>", "</s>", "x", "y", "z")})
larger = language_models(WORDS, max_order=3, complete=True)


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """A WordLm for a graph from a DictionaryLm."""
    folder = tmp_path_factory.mktemp("lm")

    def from_file(lm, graph):
        return WordLm.read(lm.write(folder / "words.arpa"), graph.words, graph.aux_labels.unique().tolist())

    return from_file


def lattice_of(problem, word_lm=None, graph=None, options=WIDE):
    """The lattices of the utterances with frames, and the numbers of these."""
    model, encoded, lens, lexicon, ngrams = problem
    rows = (lens > 0).nonzero()[:, 0]
    projected = model.joiner.project_encoder(encoded[rows])
    graph = graph or make_graph(ngrams, lexicon)
    return graph_lattice(model, projected, lens[rows], options, graph, word_lm), rows.tolist()


def sentences(problem, row, lm):
    """The score of every alignment of every word sequence with a larger language model, and its words."""
    model, encoded, lens, lexicon, _ = problem
    spelled = [(lexicon.words[word], pieces) for word, pieces in lexicon.spellings]
    tables = oracle_search.nar_tables(model, encoded[row, : int(lens[row])])
    for path, score in oracle_search.nar_paths(*tables, model.durations):
        for reading in oracle_graph.readings(tuple(token for token, _ in path), spelled):
            words = [word for word, _ in reading]
            yield score + WIDE.lm_scale * lm.score(words), words


@settings(max_examples=30, deadline=None)
@given(problems().filter(lambda problem: problem[2].any()), larger)
def test_sum_and_best_path_are_those_over_all_alignments_of_all_word_sequences(read, problem, lm):
    """The two-gram of the graph backs off by epsilons and has several paths for a sentence: it counts once."""
    graph = make_graph(problem[4], problem[3])
    lattice, rows = lattice_of(problem, read(lm, graph), graph)
    best = shortest_path(lattice)
    for i, row in enumerate(rows):
        scored = list(sentences(problem, row, lm))
        total = torch.tensor([score for score, _ in scored], dtype=torch.float64).logsumexp(0)
        assert lattice[i].num_arcs and best[i].num_arcs
        assert float(lattice.get_tot_scores(True, True)[i]) == pytest.approx(float(total), abs=1e-3)
        score, words = max(scored, key=lambda pair: pair[0])
        assert float(best.get_tot_scores(True, False)[i]) == pytest.approx(score, abs=1e-3)
        assert float(path_sums(best, best.lm_scores)[i]) == pytest.approx(WIDE.lm_scale * lm.score(words), abs=1e-3)


@settings(max_examples=25, deadline=None)
@given(problems().filter(lambda problem: problem[2].any()), larger, st.floats(0.5, 6.0))
def test_the_paths_are_those_that_the_pruned_lattice_has(read, problem, lm, beam):
    """Each alignment with words of the lattice is one path of the result, with the lattice's acoustic score."""
    lexicon = problem[3]
    graph = make_graph(problem[4], lexicon)
    options = dataclasses.replace(
        WIDE, search_beam=beam, output_beam=beam, min_active_states=2, max_active_states=30, skip_scale=0.2
    )
    lattice, _ = lattice_of(problem, None, graph, options)
    rescored = rescore_lattice(lattice, read(lm, graph), 0.3)
    for i in range(lattice.shape[0]):
        before, after = paths_of(lattice[i]), paths_of(rescored[i])
        assert {labels for labels, *_ in before} == {labels for labels, *_ in after}
        assert len({labels for labels, *_ in after}) == len(after)
        acoustic = {labels: score - lm_score for labels, score, lm_score in before}
        for labels, score, lm_score in after:
            words = [lexicon.words[word] for _, word, *_ in labels if word > 0]
            assert lm_score == pytest.approx(0.3 * lm.score(words), abs=1e-3)
            assert score - lm_score == pytest.approx(acoustic[labels], abs=1e-3)


def paths_of(fsa):
    """Every path of a k2.Fsa: (label, word, frame, duration) of its arcs, score, lm_score."""
    columns = (fsa.labels, fsa.aux_labels, fsa.frame, fsa.duration, fsa.scores, fsa.lm_scores)
    leaving = {}
    for (source, target, *_), values in zip(fsa.arcs.values().tolist(), zip(*(c.tolist() for c in columns))):
        leaving.setdefault(source, []).append((target, values))
    waiting, paths = [(0, (), 0.0, 0.0)] if leaving else [], []
    while waiting:
        state, labels, score, lm_score = waiting.pop()
        if state not in leaving:
            paths.append((labels, score, lm_score))
        for target, (*own, arc_score, arc_lm_score) in leaving.get(state, ()):
            waiting.append((target, (*labels, tuple(own)), score + arc_score, lm_score + arc_lm_score))
    return paths


@settings(max_examples=25, deadline=None)
@given(problems().filter(lambda problem: problem[2].any()), st.integers(0, 10**6), st.integers(1, 2), st.integers(1, 4))
def test_the_language_model_of_the_graph_changes_nothing(tmp_path_factory, problem, seed, order, count):
    """Where backing off is never better than an n-gram that is there."""
    ngrams = {}
    for gram, (score, weight) in oracle_graph.random_ngrams(seed, "xyz", order).items():
        lower = ngrams[gram[1:]][0] if len(gram) > 1 else -math.inf
        ngrams[gram] = max(score, lower), None if weight is None else -5.0 * (order > 1)
    graph = make_graph(ngrams, problem[3])
    path = tmp_path_factory.mktemp("lm") / "words.arpa"
    path.write_text(oracle_graph.arpa_text(ngrams))
    word_lm = WordLm.read(str(path), graph.words, graph.aux_labels.unique().tolist())
    before, after = (best_texts(lattice_of(problem, lm, graph)[0], count) for lm in (None, word_lm))
    assert before.texts() == after.texts()
    assert before.score.tolist() == pytest.approx(after.score.tolist(), abs=1e-3)


def test_what_cannot_be_rescored(read):
    problem = (Speaker(1, 5), *encoder_output(1, [3, 4]), random_lexicon(random.Random(1)), NGRAMS)
    graph = make_graph(NGRAMS, problem[3])
    lm = read(UNIGRAMS, graph)
    lattice, _ = lattice_of(problem, None, graph)
    with pytest.raises(ValueError, match=rf"a lattice of {lattice.num_arcs} arcs has more than 5 .* smaller output"):
        rescore_lattice(lattice, lm, 0.5, max_arcs=5)
    with pytest.raises(ValueError, match="single FSA"):
        rescore_lattice(lattice[0], lm, 0.5)
    plain = nar_lattice(*(torch.randn(1, 3, n).log_softmax(2) for n in (5, 2)), torch.tensor([3]), (1, 2))
    with pytest.raises(ValueError, match="no lm_scores: only the lattice of a word graph"):
        rescore_lattice(plain, lm, 0.5)


def test_an_utterance_without_path_keeps_its_place(read):
    """The word needs three tokens: two frames do not hold it, and the empty sentence is none."""
    lexicon = Lexicon(("<eps>", "x", "#0", "<s>", "</s>"), ((1, (1, 2, 3)),))
    fsa, _ = spell_out(read_acceptor("0 1 1 1 0.5\n1 0.25\n", "G", len(lexicon.words)), lexicon)
    graph = DecodingGraph.of(fsa, lexicon.words, PIECES)
    problem = (Speaker(1, durations=(1, 2)), *encoder_output(1, [2, 8, 2]), lexicon, None)
    lattice, _ = lattice_of(problem, read(UNIGRAMS, graph), graph)
    assert lattice.arcs.shape().row_splits(1).diff().gt(0).tolist() == [False, True, False]
    model, encoded, lens = problem[:3]
    short = (model, encoded[:1], lens[:1], lexicon, None)
    assert lattice_of(short, read(UNIGRAMS, graph), graph)[0].num_arcs == 0
