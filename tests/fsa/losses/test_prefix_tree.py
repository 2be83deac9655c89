"""The lattice of a prefix tree against every path of every text, in float64."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.losses.prefix_tree import PrefixTree, TreeLattice, TreeScores
from tests.oracles.loss import enumerate_paths, log_softmax, rnnt_paths

DURATIONS = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8),
    (1, 2, 3, 4, 5, 6, 7, 8),
    (0, 1, 2, 4, 8),
    (1, 3),
    (0, 2),
    (0,),
)  # the last: an RNN-T
CPU = torch.device("cpu")


@st.composite
def lists(draw):
    """(durations, lens (B,), utterance (N,), texts, random arc scores)"""
    lens = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    texts = [
        (b, tuple(text))
        for b in range(len(lens))
        for text in draw(st.lists(st.lists(st.integers(1, 2), max_size=3), max_size=4, unique_by=tuple))
    ]
    return draw(st.sampled_from(DURATIONS)), lens, texts, draw(st.integers(0, 10**6))


def random_scores(durations, lens, texts, seed):
    """The tree of the texts, its arc scores, and the log-probabilities by (t, prefix) that they come from."""
    rng = np.random.default_rng(seed)
    tree = PrefixTree.of([b for b, _ in texts], [text for _, text in texts], CPU)
    tokens = log_softmax(2 * rng.normal(size=(max(lens), len(tree), 3)))
    lengths = log_softmax(2 * rng.normal(size=(max(lens), len(tree), len(durations))))
    nodes = torch.arange(len(tree))
    by_parent = torch.tensor(tokens)[:, tree.parent]
    scores = TreeScores(torch.tensor(tokens[..., 0]), by_parent[:, nodes, tree.token], torch.tensor(lengths))
    return tree, TreeLattice(tree, torch.tensor(lens), durations, scores), tokens, lengths


def nodes_of(tree, end, text):
    """The nodes of a text's prefixes, from the root on."""
    nodes = [int(end)]
    for _ in text:
        nodes.append(int(tree.parent[nodes[-1]]))
    return nodes[::-1]


def paths_of(num_frames, text, durations):
    """All alignments of a text, also of an RNN-T."""
    if durations != (0,):
        return enumerate_paths(num_frames, text, durations)
    paths = rnnt_paths(num_frames, text, ([0] * num_frames, len(text) + 1))
    return [[(*arc, 0) for arc in path] for path in paths]


@settings(max_examples=80, deadline=None)
@given(lists())
def test_totals_and_occupancies_of_all_texts(drawn):
    durations, lens, texts, _ = drawn
    if not texts:
        return
    tree, lattice, tokens, lengths = random_scores(*drawn)
    occupancy = np.zeros((max(lens), len(tree)))
    totals = lattice.totals().tolist()
    for (b, text), end, total in zip(texts, tree.end, totals):
        nodes = nodes_of(tree, end, text)
        assert [int(tree.token[node]) for node in nodes[1:]] == list(text)
        assert {int(tree.utterance[node]) for node in nodes} == {b}
        scored = [
            (path, sum(tokens[t, nodes[u], token] + lengths[t, nodes[u], i] for t, u, token, i in path))
            for path in paths_of(lens[b], list(text), durations)
        ]
        if not scored:
            assert total == -math.inf
            continue
        expected = np.logaddexp.reduce([score for _, score in scored])
        assert total == pytest.approx(expected, abs=1e-9)
        for path, score in scored:
            for t, u in {(t, u) for t, u, *_ in path}:
                occupancy[t, nodes[u]] += math.exp(score - expected)
    assert lattice.occupancy().numpy() == pytest.approx(occupancy, abs=1e-9)


def test_texts_share_their_prefixes():
    tree = PrefixTree.of([0, 0, 0, 1, 1], [(3, 1), (3, 1, 2), (3, 2), (), (3, 1)], CPU)
    assert tree.levels == (2, 2, 3, 1) and len(tree) == 8
    assert tree.depth.tolist() == [0, 0, 1, 1, 2, 2, 2, 3]
    assert int(tree.parent[tree.end[1]]) == int(tree.end[0])
    assert int(tree.end[3]) == int(tree.parent[tree.parent[tree.end[4]]]) != int(tree.parent[tree.parent[tree.end[0]]])


def test_no_text_has_no_total():
    tree = PrefixTree.of([], [], CPU)
    scores = TreeScores(torch.zeros(3, 0), torch.zeros(3, 0), torch.zeros(3, 0, 2))
    assert TreeLattice(tree, torch.tensor([3]), (0, 1), scores).totals().shape == (0,)
