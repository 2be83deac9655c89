"""graph and ctc-graph with a larger language model over words."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.language.lexicon import Lexicon
from hainan_k2.fsa.language.word_lm import WordLm
from hainan_k2.search import DecodingResources
from hainan_k2.search.ctc_graph import ctc_graph
from hainan_k2.search.graph import graph
from hainan_k2.search.lattices import lattice_method, search_lattice
from hainan_k2.search.resources import ResourceConfig, load_resources
from tests.oracles import graph as oracle_graph
from tests.oracles import search as oracle_search
from tests.oracles.lm import language_models
from tests.search.test_graph import NARROW, PIECES, WIDE, check_alone, make_graph, problems

pytest.importorskip("k2")

larger = language_models(("<eps>", "<unk>", "x", "y", "z", "elsewhere"), max_order=3, complete=True)


@pytest.fixture(scope="module")
def resources_of(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm")

    def make(problem, lm):
        word_graph = make_graph(problem[4], problem[3])
        path = lm.write(folder / "words.arpa")
        return DecodingResources(
            graph=word_graph, word_lm=WordLm.read(path, word_graph.words, word_graph.aux_labels.unique().tolist())
        )

    return make


def best_texts(problem, paths, lm):
    """[(score, tokens)] of the best alignment and words of every text, the best first."""
    spelled = [(problem[3].words[word], pieces) for word, pieces in problem[3].spellings]
    texts = {}
    for path, score in paths:
        tokens = tuple(token for token, *_ in path)
        for reading in oracle_graph.readings(tokens, spelled):
            total = score + WIDE.lm_scale * lm.score([word for word, _ in reading])
            texts[tokens] = max(total, texts.get(tokens, -float("inf")))
    return sorted(((score, tokens) for tokens, score in texts.items()), reverse=True)


@pytest.mark.parametrize("method", [graph, ctc_graph])
def test_the_list_is_that_of_all_alignments_and_words(resources_of, method):
    @settings(max_examples=12, deadline=None)
    @given(problems(), larger, st.integers(1, 4))
    def check(problem, lm, count):
        model, encoded, lens, _, _ = problem
        options = dataclasses.replace(WIDE, nbest=count)
        hypotheses = method(model, encoded, lens, options, resources_of(problem, lm))
        for hypothesis, row, length in zip(hypotheses, encoded, lens.tolist()):
            if not length:
                assert hypothesis.tokens == ()
                continue
            if method is graph:
                paths = oracle_search.nar_paths(*oracle_search.nar_tables(model, row[:length]), model.durations)
            else:
                paths = oracle_search.ctc_paths(model, row[:length])
            expected = best_texts(problem, paths, lm)[:count]
            listed = hypothesis.alternatives if count > 1 else [hypothesis]
            assert [h.score for h in listed] == pytest.approx([score for score, _ in expected], abs=1e-3)
            for h in listed:
                spans = [(problem[3].words.index(word), h.ids[first:end]) for word, first, end in h.output]
                assert set(spans) <= set(problem[3].spellings) and sum(len(ids) for _, ids in spans) == len(h.ids)
                assert all(0.0 <= token.confidence <= 1.0 + 1e-6 for token in h.tokens)

    check()


@settings(max_examples=15, deadline=None)
@given(problems(), larger, st.sampled_from((WIDE, NARROW)))
def test_an_utterance_does_not_notice_its_batch(resources_of, problem, lm, options):
    check_alone(problem, options, resources_of(problem, lm))


@settings(max_examples=10, deadline=None)
@given(problems().filter(lambda problem: problem[2].all()), larger)
def test_the_lattice_of_the_search_is_the_rescored_one(resources_of, problem, lm):
    model, encoded, lens, _, _ = problem
    resources = resources_of(problem, lm)
    assert lattice_method(resources) == "graph" and resources.given() == ("graph", "word_lm")
    lattice = search_lattice(model, encoded, lens, WIDE, resources)
    scores = [hypothesis.score for hypothesis in graph(model, encoded, lens, WIDE, resources)]
    assert lattice.get_tot_scores(True, False).tolist() == pytest.approx(scores, abs=1e-3)
    with pytest.raises(ValueError, match="a grammar or a graph alone, not graph and word_lm and hotwords"):
        search_lattice(model, encoded, lens, WIDE, dataclasses.replace(resources, hotwords=object()))


class Pieces:
    """A tokenizer as far as decoding resources need one."""

    pieces, vocab_size = PIECES, len(PIECES)


def test_files(tmp_path, caplog):
    ngrams = oracle_graph.random_ngrams(3, "xyz", 2)
    word_graph = make_graph(ngrams, Lexicon(("<eps>", *"xyz", "#0", "<s>", "</s>"), ((1, (1,)), (2, (2,)), (3, (3,)))))
    word_graph.save(tmp_path / "LG.safetensors")
    arpa = tmp_path / "words.arpa"
    arpa.write_text(oracle_graph.arpa_text({**oracle_graph.random_ngrams(3, "xw", 3), ("<unk>",): (-2.0, None)}))
    files = ResourceConfig(graph=str(tmp_path / "LG.safetensors"), word_lm=str(arpa))
    resources = load_resources(files, Pieces())
    assert resources.word_lm.unknown == ("y", "z")
    assert "does not have 2 of 3 words of the graph (y z): they have the score of its <unk>" in caplog.text
    assert resources.to(torch.device("meta")).word_lm.lm.keys.is_meta
    with pytest.raises(ValueError, match="--word-lm rescores the lattice of --graph: give it as well"):
        load_resources(ResourceConfig(word_lm=str(arpa)), Pieces())
