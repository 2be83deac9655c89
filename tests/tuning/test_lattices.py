"""Lattices with other weights against decoding with these weights, where nothing is pruned."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.data.batch import Batch
from hainan_k2.fsa.language.ngram import NgramLm
from hainan_k2.fsa.language.word_lm import WordLm
from hainan_k2.search import DecodingResources, SearchConfig
from hainan_k2.text import normalise
from hainan_k2.tuning.dev_set import DevSet, EncodedBatch
from hainan_k2.tuning.lattices import DevLattices, has_lattices
from tests.oracles.lm import SYMBOLS, language_models
from tests.oracles.search import batches
from tests.search.test_graph import PIECES, make_graph, problems

pytest.importorskip("k2")
WIDE = SearchConfig(
    top_k=9, lattice_beam=1e4, lattice_states=10**6, search_beam=1e4, output_beam=1e4, max_active_states=10**6
)
weights = st.fixed_dictionaries(
    {
        "lm_scale": st.sampled_from((0.3, 0.7, 1.1)),
        "duration_scale": st.sampled_from((0.5, 1.0, 2.5)),
        "token_bonus": st.sampled_from((-0.5, 0.0, 1.5)),
        "blank_penalty": st.sampled_from((0.0, 0.4)),
        "skip_scale": st.sampled_from((0.0, 0.3)),
    }
)


class Pieces:
    """A tokenizer as far as decoding needs one."""

    scoring = staticmethod(normalise)

    def __init__(self, pieces):
        self.pieces = pieces


def dev_set(method, model, encoder_out, lens, resources, pieces, texts=("a b c", "d", "")):
    """The references never change: the errors of two searches are the same where their texts are."""
    names = tuple(f"utterance {i}" for i in range(len(lens)))
    seconds = tuple(0.08 * length for length in lens.tolist())
    batch = Batch(torch.zeros(0), lens, names, texts[: len(lens)], seconds)
    encoded = [EncodedBatch(batch, encoder_out, lens)]
    return DevSet(model, Pieces(pieces), method, WIDE, resources, encoded)


# Under a unigram, two orders of words that the same tokens spell are equally probable: against words that no graph has,
# both have the same number of errors.
UNORDERED = ("a b", "c", "d d d")


def assert_same_errors(dev, made, other):
    lattices = DevLattices(dev, replace(WIDE, **made))
    points = [replace(WIDE, **values) for values in (other, made)]
    assert lattices.errors(points)[0].tolist() == dev.decode(points)[0].tolist()
    assert lattices.errors(points)[1].tolist() == dev.decode(points)[1].tolist()


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm")
    return lambda lm: NgramLm.read(lm.write(folder / "lm.arpa"), SYMBOLS)


@settings(max_examples=25, deadline=None)
@given(batches(max_frames=10), language_models(), weights, weights)
def test_lattices_with_a_language_model(read, batch, lm, made, other):
    """Also where the model allows an utterance no path, and where it has no frames."""
    dev = dev_set("viterbi-lm", *batch, DecodingResources(lm=read(lm)), SYMBOLS)
    assert_same_errors(dev, made, other)


@settings(max_examples=25, deadline=None)
@given(batches(max_frames=10), weights, weights)
def test_plain_lattices(batch, made, other):
    assert_same_errors(dev_set("viterbi", *batch, DecodingResources(), SYMBOLS), made, other)


@settings(max_examples=15, deadline=None)
@given(problems(), weights, weights)
def test_lattices_of_a_word_graph(problem, made, other):
    model, encoded, lens, lexicon, ngrams = problem
    resources = DecodingResources(graph=make_graph(ngrams, lexicon))
    dev = dev_set("graph", model, encoded, lens, resources, PIECES, UNORDERED)
    assert_same_errors(dev, made, other)


@settings(max_examples=10, deadline=None)
@given(problems(), language_models(("<eps>", "<unk>", "x", "y", "z"), max_order=3, complete=True), weights, weights)
def test_lattices_of_a_word_graph_with_a_larger_language_model(tmp_path_factory, problem, lm, made, other):
    model, encoded, lens, lexicon, ngrams = problem
    graph = make_graph(ngrams, lexicon)
    path = lm.write(tmp_path_factory.mktemp("lm") / "words.arpa")
    word_lm = WordLm.read(path, graph.words, graph.aux_labels.unique().tolist())
    resources = DecodingResources(graph=graph, word_lm=word_lm)
    dev = dev_set("graph", model, encoded, lens, resources, PIECES, UNORDERED)
    assert_same_errors(dev, made, other)


def test_which_searches_have_lattices():
    assert has_lattices("viterbi", WIDE, ()) and has_lattices("viterbi-lm", WIDE, ("lm",))
    assert has_lattices("graph", WIDE, ("graph", "word_lm")) and not has_lattices("graph", WIDE, ("word_lm",))
    assert not has_lattices("viterbi-lm", replace(WIDE, lm_scale=0.0), ("lm",))
    assert not has_lattices("viterbi-lm", WIDE, ("lm", "hotwords")) and not has_lattices("ar-beam", WIDE, ())
