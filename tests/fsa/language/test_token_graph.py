import pytest
import torch

from hainan_k2.fsa.language.token_graph import TokenGraph

ARCS = torch.tensor([[0, 0, 3], [0, 1, 3], [0, 3, -1], [2, 1, 4], [2, 3, -1]])
SCORES = torch.tensor([-1.0, -2.0, -0.5, -3.0, -0.25])


def test_arcs_into_the_last_state_become_final_scores():
    graph = TokenGraph.of(ARCS, SCORES, torch.tensor([7, 0, -1, 8, -1]))
    assert graph.num_states == 3 and graph.start == 0
    assert graph.final(torch.tensor([0, 1, 2])).tolist() == [-0.5, -torch.inf, -0.25]
    assert graph.label.tolist() == [3, 3, 4] and graph.target.tolist() == [0, 1, 1]
    assert graph.score.tolist() == [-1.0, -2.0, -3.0] and graph.output.tolist() == [7, 0, 8]


def test_the_arcs_that_leave_states():
    graph = TokenGraph.of(ARCS, SCORES, torch.zeros(5)).to("cpu")
    owner, arc = graph.leaving(torch.tensor([2, 1, 0, 2]))
    assert owner.tolist() == [0, 2, 2, 3] and arc.tolist() == [2, 0, 1, 2]
    assert [part.tolist() for part in graph.leaving(torch.tensor([1]))] == [[], []]


def test_epsilons_and_graphs_without_tokens_are_refused():
    with pytest.raises(ValueError, match="the graph has 1 epsilons"):
        TokenGraph.of(torch.tensor([[0, 1, 0], [1, 2, -1]]), torch.zeros(2), torch.zeros(2))
    with pytest.raises(ValueError, match="the graph has no token"):
        TokenGraph.of(torch.tensor([[0, 1, -1]]), torch.zeros(1), torch.zeros(1))
