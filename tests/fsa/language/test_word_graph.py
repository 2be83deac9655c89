import math
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.files.container import write_container
from hainan_k2.fsa.language.acceptor import read_acceptor
from hainan_k2.fsa.language.lexicon import Lexicon, lexicon_fst
from hainan_k2.fsa.language.word_graph import spell_out
from hainan_k2.fsa.lattices.decoding_graph import KIND, DecodingGraph
from tests.oracles import graph as oracle_graph
from tests.search.test_graph import PIECES, openfst_text, random_lexicon

k2 = pytest.importorskip("k2")


def best_score(graph, tokens):
    """The best score of a path of these tokens."""
    line = k2.arc_sort(k2.linear_fsa(list(tokens)))
    product = k2.intersect(k2.arc_sort(graph), line, treat_epsilons_specially=True)
    product = k2.create_fsa_vec([k2.top_sort(k2.connect(product))])
    return float(product.get_tot_scores(use_double_scores=True, log_semiring=False))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_lg_is_l_composed_with_g(seed, order):
    rng = random.Random(seed)
    lexicon, ngrams = random_lexicon(rng), oracle_graph.random_ngrams(seed, "xyz", order)
    grammar = read_acceptor(openfst_text(ngrams, lexicon.words), "G", len(lexicon.words))
    graph, _ = spell_out(grammar, lexicon)
    composed = k2.compose(lexicon_fst(lexicon, 5), k2.arc_sort(k2.Fsa(grammar.arcs())))
    composed.labels = torch.where(composed.labels >= 5, 0, composed.labels)  # disambiguation symbols and #0
    for fsa in (composed, graph):
        del fsa.aux_labels
    for _ in range(5):
        spelled = [rng.choice(lexicon.spellings) for _ in range(rng.randint(1, 3))]
        tokens = [token for _, pieces in spelled for token in pieces]
        assert best_score(graph, tokens) == pytest.approx(best_score(composed, tokens), abs=1e-4)


def test_disambiguation_symbols_are_where_kaldi_puts_them():
    words = ("<eps>", "no", "know", "knot", "not", "#0", "<s>", "</s>")
    lexicon = Lexicon(words, ((1, (1,)), (2, (1,)), (3, (1, 2)), (4, (3, 2))))
    assert lexicon.disambiguated(10) == [(1, (1, 11)), (2, (1, 12)), (3, (1, 2)), (4, (3, 2))]


def test_disambiguation_symbols_in_a_word_graph_are_epsilon():
    """#1, <s> and !SIL lead on; <unk>, which has no spelling, is left out and named; !SIL with a spelling is a word."""
    words = ("<eps>", "w", "#1", "!SIL", "<unk>", "#0", "<s>", "</s>")
    grammar = read_acceptor("0 1 6 6 0.5\n1 2 1 1 1\n2 3 2 0 0.25\n3 4 3 3\n4 5 1 1\n4 5 4 4\n5\n", "G", len(words))
    graph, missing = spell_out(grammar, Lexicon(words, ((1, (1, 2)),)))
    assert missing.tolist() == [4]
    assert best_score(graph, [1, 2, 1, 2]) == pytest.approx(-1.75)
    graph, missing = spell_out(grammar, Lexicon(words, ((1, (1, 2)), (3, (4,)))))
    assert best_score(graph, [1, 2, 4, 1, 2]) == pytest.approx(-1.75)


def test_scores_are_pushed_to_the_first_arc_that_words_share():
    lexicon = Lexicon(("<eps>", "w", "x", "#0", "<s>", "</s>"), ((1, (1, 2, 3)), (2, (1, 2, 4))))
    graph, _ = spell_out(read_acceptor("0 1 1 1 2.0\n0 1 2 2 3.0\n1\n", "G", 6), lexicon)
    arcs = zip(graph.labels.tolist(), graph.aux_labels.tolist(), graph.scores.tolist())
    assert sorted(arcs) == [(-1, -1, 0.0), (1, 0, -2.0), (2, 0, 0.0), (3, 1, 0.0), (4, 2, -1.0)]


def mutate(rng, text):
    """The text with one line or character dropped, doubled or replaced."""
    at = rng.randrange(len(text))
    lines = text.split("\n")
    line = rng.randrange(len(lines))
    junk = rng.choice(["", " ", "-", "9", "0", "\n", "\t", "nan", "1e999", "é", "\0", "4 0 0", "99999999999999999999"])
    return rng.choice(
        [
            text[:at] + junk + text[at:],
            text[:at] + junk + text[at + 1 :],
            text[:at],
            "\n".join(lines[:line] + lines[line + 1 :]),
            "\n".join(lines[:line] + [junk] + lines[line:]),
            "\n".join(lines[: line + 1] + lines[line:]),
        ]
    )


def test_no_mutation_of_an_acceptor_crashes():
    rng, refused = random.Random(0), 0
    for number in range(500):
        lexicon = random_lexicon(rng)
        text = openfst_text(oracle_graph.random_ngrams(number, "xyz", 2), lexicon.words)
        for _ in range(rng.randint(1, 3)):
            text = mutate(rng, text)
        try:
            graph, _ = spell_out(read_acceptor(text, "G.fst.txt", len(lexicon.words)), lexicon)
        except ValueError as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            assert DecodingGraph.of(graph, lexicon.words, PIECES)._problem() == ""
    assert 50 < refused < 450


def one_word_graph():
    lexicon = Lexicon(("<eps>", "long", "#0", "<s>", "</s>"), ((1, (1, 2, 3)),))
    fsa, _ = spell_out(read_acceptor("0 1 1 1 0.5\n1 0.25\n", "G", 5), lexicon)
    return DecodingGraph.of(fsa, lexicon.words, PIECES)


def test_a_graph_survives_its_file(tmp_path):
    graph = one_word_graph()
    graph.save(tmp_path / "LG.safetensors")
    again = DecodingGraph.read(tmp_path / "LG.safetensors", PIECES)
    assert torch.equal(graph.arcs, again.arcs) and torch.equal(graph.aux_labels, again.aux_labels)
    assert (graph.words, graph.pieces, graph.durations) == (again.words, again.pieces, again.durations)
    with pytest.raises(ValueError, match="the 5 pieces of .* are not the 3 of"):
        DecodingGraph.read(tmp_path / "LG.safetensors", PIECES[:3])


@pytest.mark.parametrize(
    ("row", "column", "value", "complaint"),
    [
        (0, 0, 3, "sources descend"),
        (1, 1, -5, "a target is negative"),
        (0, 1, 9, "label -1 is not"),
        (1, 2, 5, "labels are not below 5"),
        (1, 2, 0, "there is an epsilon"),
        (1, 2, -1, "label -1 is not"),
        (3, 0, 4, "leaves the final state"),
        (1, 3, 0x7FC00000, "a score is not finite"),
    ],
)
def test_graphs_that_k2_could_not_search_are_refused(tmp_path, row, column, value, complaint):
    graph = one_word_graph()
    graph.arcs[row, column] = value
    graph.save(tmp_path / "LG.safetensors")
    with pytest.raises(ValueError, match=complaint):
        DecodingGraph.read(tmp_path / "LG.safetensors", PIECES)


def test_files_that_are_no_graphs_are_refused(tmp_path):
    path = tmp_path / "LG.safetensors"
    for content in (b"", b"PK\x03\x04", b"0 1 1 1\n"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="LG.safetensors cannot be read as a decoding graph"):
            DecodingGraph.read(path, PIECES)
    write_container(path, KIND, {"arcs": torch.zeros(1, 4)}, {"words": [], "pieces": [], "durations": None})
    with pytest.raises(ValueError, match="is not complete"):
        DecodingGraph.read(path, PIECES)
    graph = one_word_graph()
    graph.save(path)
    data, rng = path.read_bytes(), random.Random(1)
    for _ in range(100):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(damaged))
        try:
            assert torch.equal(DecodingGraph.read(path, PIECES).arcs, graph.arcs)
        except ValueError as error:
            assert "\n" not in str(error)
    assert math.isfinite(float(graph.fsa().scores.sum()))
