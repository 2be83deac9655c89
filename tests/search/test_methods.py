"""What holds for every method of the table."""

import dataclasses
import functools
import math
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings

from hainan_k2.config import ModelConfig
from hainan_k2.fsa.language.automaton import Arc, Automaton
from hainan_k2.fsa.language.grammar import make_grammar
from hainan_k2.fsa.language.hotwords import HotwordGraph
from hainan_k2.fsa.language.ngram import NgramLm
from hainan_k2.fsa.lattices.decoding_graph import DecodingGraph
from hainan_k2.model.hainan import Hainan
from hainan_k2.search import METHODS, NO_RESOURCES, DecodingResources, SearchConfig
from tests.oracles.lm import DictionaryLm
from tests.oracles.search import Speaker, batches, encoder_output, shape

OPTIONS = SearchConfig(max_symbols=4, sar_rounds=3, nbest=2, num_paths=5)


@pytest.fixture(params=METHODS)
def method(request):
    chosen = METHODS[request.param]
    if chosen.needs_k2:
        pytest.importorskip("k2")
    return chosen


@functools.cache
def bigrams(vocab_size):
    """A bigram LM over tokens named by their ids."""
    words = [str(id) for id in range(1, vocab_size)]
    ngrams = {("<s>",): (-99.0, -0.2), ("</s>",): (-0.5, 0.0)}
    ngrams.update({(word,): (-0.1 * int(word) - 0.3, -0.3) for word in words})
    ngrams.update({(a, b): (-0.2, 0.0) for a, b in zip(["<s>", *words], words)})
    with tempfile.TemporaryDirectory() as folder:
        path = DictionaryLm(ngrams).write(Path(folder) / "lm.arpa")
        return NgramLm.read(path, [str(id) for id in range(vocab_size)])


def any_words(vocab_size):
    """A word graph in which every token is a word, and every sequence of words is allowed."""
    import k2

    arcs = [f"0 0 {id} {id} {-0.1 * id}" for id in range(1, vocab_size)]
    fsa = k2.Fsa.from_str("\n".join([*arcs, "0 1 -1 -1 0", "1"]), acceptor=False)
    words = [str(id) for id in range(vocab_size)]
    return DecodingGraph.of(fsa, words, words)


def two_words(vocab_size):
    """A grammar of texts of at most two tokens, the first of which has an output of its own."""
    arcs = [Arc(0, 1, id, (f"first{id}",)) for id in range(1, vocab_size)] + [Arc(1, 2, 1, ("second",), -0.5)]
    pieces = [str(id) for id in range(vocab_size)]
    return make_grammar(Automaton(0, tuple(arcs), {0: 0.0, 1: 0.0, 2: 0.0}), pieces, transduces=True)


MAKE = {"lm": bigrams, "graph": any_words, "grammar": two_words}


def resources_for(method, model):
    """The resources that the method needs."""
    return DecodingResources(**{need: MAKE[need](model.vocab_size) for need in method.needs})


def search(method, model, encoded, lens, options=OPTIONS):
    return method.function(model, encoded, lens, options, resources_for(method, model))


def assert_same(a, b, tolerance=1e-5):
    assert len(a.alternatives) == len(b.alternatives)
    for x, y in zip((a, *a.alternatives), (b, *b.alternatives)):
        assert x.num_frames == y.num_frames and x.rounds == y.rounds
        assert x.score == pytest.approx(y.score, abs=tolerance)
        if shape(x) != shape(y):  # of equally probable texts, rounding decides which comes first
            (y,) = (other for other in b.alternatives if shape(other) == shape(x) and abs(other.score - y.score) < 1e-9)
        assert [t.confidence for t in x.tokens] == pytest.approx([t.confidence for t in y.tokens], abs=1e-5)


def check_alone_and_in_a_batch(method, model, encoded, lens):
    together = search(method, model, encoded, lens)
    assert len(together) == len(lens)
    for i, length in enumerate(lens.tolist()):
        padded = torch.full_like(encoded[i : i + 1, :1], torch.inf).expand(1, 3, -1)
        alone = torch.cat([encoded[i : i + 1, :length], padded], dim=1)
        assert_same(search(method, model, alone, lens[i : i + 1])[0], together[i])


@settings(max_examples=25, deadline=None)
@given(batches())
def test_the_result_of_an_utterance_does_not_depend_on_its_batch(batch):
    for method in METHODS.values():
        if method.needs_k2:
            pytest.importorskip("k2")
        check_alone_and_in_a_batch(method, *batch)


@pytest.mark.parametrize("predictor", ["lstm", "stateless"])
@pytest.mark.parametrize("durations", [tuple(range(9)), tuple(range(1, 9)), (0, 1, 2, 4, 8)])
def test_whole_models_in_single_precision(method, predictor, durations):
    torch.manual_seed(1)
    config = ModelConfig.preset("tiny", vocab_size=12, predictor=predictor, durations=durations)
    model = Hainan(config).eval()
    with torch.no_grad():
        model.joiner.out.weight.mul_(6.0)
        encoded, lens = model.encoder(torch.randn(3, 240, 80), torch.tensor([240, 80, 170]))
    check_alone_and_in_a_batch(method, model, encoded, lens)


@pytest.mark.parametrize("predictor", ["lstm", "stateless"])
@pytest.mark.parametrize("token", [None, 0, 2])
def test_a_model_that_always_predicts_duration_0_terminates(method, predictor, token):
    model = Speaker(7, durations=(0, 1, 4), predictor=predictor).always(0, token)
    encoded, lens = encoder_output(7, [9, 0, 5])
    hypotheses = search(method, model, encoded, lens)
    for hypothesis, length in zip(hypotheses, lens.tolist()):
        assert len(hypothesis.tokens) <= length * OPTIONS.max_symbols
        assert all(0 <= token.frame < length for token in hypothesis.tokens)


def test_times_never_overlap_and_stay_within_the_utterance(method):
    pieces = ["<blk>", "▁a", "b", "▁c", "d"]
    for seed in range(10):
        model = Speaker(seed, blank_bias=-0.5)
        encoded, lens = encoder_output(seed, [25, 6])
        for hypothesis, length in zip(search(method, model, encoded, lens), lens.tolist()):
            words = hypothesis.with_words(pieces, audio_seconds=0.08 * length - 0.03).words
            times = [time for word in words for time in (word.start, word.end)]
            assert times == sorted(times)
            assert not times or times[-1] <= 0.08 * length - 0.03 + 1e-9
            assert all(0.0 <= word.confidence <= 1.0 for word in words)


def test_methods_need_gradients_of_nothing(method):
    encoded, lens = encoder_output(0, [5])
    search(method, Speaker(0), encoded.requires_grad_(), lens)


def names(cls):
    return {field.name for field in dataclasses.fields(cls) if field.init}


@pytest.mark.parametrize("name", METHODS)
def test_the_table_names_what_exists(name):
    method = METHODS[name]
    assert name == method.name and method.description
    assert set(method.options) <= names(SearchConfig) and set(method.sweeps) <= names(SearchConfig)
    assert len(set(method.options)) == len(method.options)
    assert set(method.needs + method.uses + method.limited_by) <= names(DecodingResources)
    assert ("hotwords" in method.uses) == ("hotword_scale" in method.options)


class Recorder:
    """SearchConfig that remembers which options were read."""

    def __init__(self, options):
        self.options, self.read = options, set()

    def __getattr__(self, name):
        self.read.add(name)
        return getattr(self.options, name)


def test_a_method_takes_the_options_that_the_table_says(method):
    # the second emits a token on every frame, more tokens than the grammar allows
    models = Speaker(0), Speaker(0, durations=(1,), blank_bias=-9.0)
    size = models[0].vocab_size
    given = {"hotwords": HotwordGraph.build({(1, 2): 1.0}, [True] * size), "lodr_lm": bigrams(size)}
    given.update(lm=bigrams(size), grammar=two_words(size))
    needed = resources_for(method, models[0])
    read = set()
    for lattice in ("nar", "ar"):
        options = Recorder(SearchConfig(grammar_threshold=0.0, lattice=lattice))
        for resources in (needed, dataclasses.replace(needed, **{n: given[n] for n in method.uses if n in given})):
            for model in models:
                method.function(model, *encoder_output(0, [9, 4]), options, resources)
        read |= options.read
    # viterbi, which these fall back to, finds the same path whatever the top_k
    without_effect = {"top_k"} if method.name in ("grammar", "graph") else set()
    assert set(method.options) <= read <= set(method.options) | without_effect


def test_every_option_is_taken_by_a_method():
    assert {option for method in METHODS.values() for option in method.options} == names(SearchConfig)


def test_the_longest_recordings_that_are_searched_at_once():
    plain, biased = NO_RESOURCES, DecodingResources(hotwords=object())
    any_length = {name for name, m in METHODS.items() if m.longest(OPTIONS, plain) == math.inf}
    assert any_length == {"ar-greedy", "ar-beam", "nar-greedy", "sar", "ctc-greedy", "viterbi", "sar-viterbi"}
    assert {name for name in any_length if METHODS[name].longest(OPTIONS, biased) == 30.0} == {"viterbi", "sar-viterbi"}
    for name, m in METHODS.items():
        listed = name.startswith("nbest") or name in ("mbr", "rescore")
        assert m.longest(OPTIONS, biased) in (30.0, math.inf)
        assert m.segment(OPTIONS, biased) == (10.0 if listed else m.longest(OPTIONS, biased))


def test_methods_that_decode_streams():
    assert [name for name, method in METHODS.items() if method.stream] == ["ar-greedy", "ar-beam", "nar-greedy"]
