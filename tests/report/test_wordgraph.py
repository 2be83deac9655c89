"""The word graph of a lattice's most probable texts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.report.wordgraph import shares, word_graph
from tests.report.pages import hypothesis_of, texts


def test_word_graph_by_hand():
    paths = [
        hypothesis_of("so we ask", score=np.log(0.6)),
        hypothesis_of("so we asked", score=np.log(0.2)),
        hypothesis_of("so he ask", score=np.log(0.2)),
    ]
    graph = word_graph(paths)
    assert [(n.text, round(n.mass, 6)) for n in graph.nodes] == [
        ("so", 1.0),
        ("we", 0.8),
        ("ask", 0.8),
        ("asked", 0.2),
        ("he", 0.2),
    ]
    assert {ends: round(mass, 6) for ends, mass in graph.edges.items()} == {
        (0, 1): 0.8,
        (1, 2): 0.6,
        (1, 3): 0.2,
        (0, 4): 0.2,
        (4, 2): 0.2,
    }
    again = [hypothesis_of("so"), hypothesis_of("so", start=3.0)]
    assert len(word_graph(again).nodes) == 2  # the same word at another time
    assert shares([hypothesis_of("a", score=-1e4), hypothesis_of("b", score=float("-inf"))]) == [1.0, 0.0]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(texts, st.floats(-50, 0)), min_size=1, max_size=5))
def test_word_graph_keeps_all_mass(drawn):
    paths = [hypothesis_of(text, score=score) for text, score in drawn]
    graph = word_graph(paths)
    weights = shares(paths)
    assert sum(weights) == pytest.approx(1.0)
    assert sum(n.mass for n in graph.nodes) == pytest.approx(sum(w * len(p.words) for w, p in zip(weights, paths)))
    assert sum(graph.edges.values()) == pytest.approx(sum(w * max(0, len(p.words) - 1) for w, p in zip(weights, paths)))
