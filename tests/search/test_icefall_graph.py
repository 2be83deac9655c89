"""A lang folder of icefall as --graph: determinized, words anywhere, tokens by name."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.k2_file import write_k2
from hainan_k2.fsa.language.output_words import words_by_start
from hainan_k2.fsa.lattices.decoding_graph import DecodingGraph
from hainan_k2.search import DecodingResources
from hainan_k2.search.graph import graph
from tests.oracles import graph as oracle_graph
from tests.oracles.search import Speaker, encoder_output, shape
from tests.search.test_graph import PIECES, WIDE, make_graph, random_lexicon

k2 = pytest.importorskip("k2")


def write_folder(folder, fsa, words, shift=False):
    """A lang folder with this LG; with `shift`, tokens have other ids than in PIECES."""
    symbols = ["<blk>", *reversed(PIECES[1:]), "#0"] if shift else [*PIECES, "#0"]
    for name, table in (("tokens.txt", symbols), ("words.txt", words)):
        lines = (f"{symbol} {id}\n" for id, symbol in enumerate(table))
        (folder / name).write_text("".join(lines), encoding="utf-8")
    if shift:
        fsa = fsa.clone()
        fsa.labels = torch.where(fsa.labels > 0, 5 - fsa.labels, fsa.labels)
    write_k2(folder / "LG.pt", k2.arc_sort(fsa))
    return folder


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.booleans())
def test_it_gives_the_results_of_our_graph(tmp_path_factory, seed, order, epsilons):
    lexicon, ngrams = random_lexicon(random.Random(seed)), oracle_graph.random_ngrams(seed, "xyz", order)
    ours = make_graph(ngrams, lexicon)
    fsa = ours.fsa()
    if epsilons:  # an epsilon before the first token, which is to be removed
        lines = k2.to_str_simple(fsa).strip().split("\n")
        moved = [" ".join([str(int(a) + 1), str(int(b) + 1), *rest]) for a, b, *rest in map(str.split, lines[:-1])]
        fsa = k2.Fsa.from_str("\n".join(["0 1 0 0 0.25", *moved, str(int(lines[-1]) + 1)]), acceptor=False)
    folder = write_folder(tmp_path_factory.mktemp("lang"), fsa, lexicon.words, shift=bool(seed % 2))
    theirs = DecodingGraph.read(folder, PIECES)
    model, (encoded, lens) = Speaker(seed, 5), encoder_output(seed, [6, 0, 4])
    expected, found = (graph(model, encoded, lens, WIDE, DecodingResources(graph=g)) for g in (ours, theirs))
    for one, other, length in zip(expected, found, lens.tolist()):
        assert shape(one) == shape(other)
        assert other.score == pytest.approx(one.score + 0.25 * 0.6 * bool(epsilons and length), abs=1e-3)
        texts = [[word for word, _, _ in hypothesis.output or ()] for hypothesis in (one, other)]
        assert oracle_graph.as_probable(*texts, ngrams)


def test_words_on_other_arcs_and_at_the_end(tmp_path):
    fsa = k2.Fsa.from_str("\n".join(["0 1 1 0", "1 2 2 0", "2 3 3 0", "3 4 -1 0", "4"]))  # ▁a b ▁c
    fsa.aux_labels = k2.RaggedTensor([[], [], [], [1, 2, -1]])
    folder = write_folder(tmp_path, fsa, ("<eps>", "ab", "c", "#0", "<s>", "</s>"))
    read = DecodingGraph.read(folder / "LG.pt", PIECES)
    assert read.words[-1] == "ab c" and not read.aligned
    encoded, lens = encoder_output(1, [8])
    (hypothesis,) = graph(Speaker(1, 5), encoded, lens, WIDE, DecodingResources(graph=read))
    assert hypothesis.ids == (1, 2, 3) and hypothesis.output == (("ab", 0, 2), ("c", 2, 3))
    with pytest.raises(ValueError, match="not one of icefall"):
        read.token_graph()
    with pytest.raises(ValueError, match="'d', which is no piece of the model"):
        fsa.labels = torch.tensor([1, 4, 3, -1], dtype=torch.int32)
        DecodingGraph.read(write_folder(tmp_path, fsa, ("<eps>", "ab", "c", "#0", "<s>", "</s>")), PIECES[:4])
    with pytest.raises(ValueError, match="words.txt"):
        DecodingGraph.read(write_folder(tmp_path, fsa, ("<eps>", "#0", "<s>", "</s>")[:2]), PIECES)


@pytest.mark.parametrize(
    "arcs, outputs, message",
    [
        ([], [], "LG.pt accepts no text"),
        ([(0, 1, 1, 0.0), (1, 2, -1, 0.0)], [1.5, -1.0], "LG.pt is no LG: .* aux_labels, which are int32"),
        ([(0, 1, 1, -float("inf")), (1, 2, -1, 0.0)], [1, -1], "a score is not finite"),
    ],
)
def test_damaged_graphs(tmp_path, arcs, outputs, message):
    folder = write_folder(tmp_path, k2.linear_fsa([1]), ("<eps>", "ab", "#0", "<s>", "</s>"))
    table = torch.zeros(len(arcs), 4, dtype=torch.int32)
    for row, (*labels, score) in zip(table, arcs):
        row[:3], row[3] = torch.tensor(labels), torch.tensor([score]).view(torch.int32)[0]
    aux_labels = torch.tensor(outputs) if any(isinstance(x, float) for x in outputs) else torch.tensor(outputs).int()
    torch.save({"arcs": table, "aux_labels": aux_labels}, str(folder / "LG.pt"))
    with pytest.raises(ValueError, match=message) as caught:
        DecodingGraph.read(folder, PIECES)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_words_are_found_by_the_tokens_that_start_them():
    assert words_by_start(["", "one", "", "two", ""], [True, False, True, False]) == (("one", 0, 2), ("two", 2, 4))
    assert words_by_start(["", "", "one two"], [True, True]) == (("one", 0, 1), ("two", 1, 2))
    assert words_by_start(["x", "", ""], [True, True]) == (("x", 0, 2),)
    assert words_by_start([""], []) == ()
