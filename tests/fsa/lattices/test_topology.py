import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.lattices.duration_scores import duration_scores
from hainan_k2.fsa.lattices.nar_lattice import nar_lattice
from hainan_k2.fsa.lattices.paths import hypotheses_from_lattice, shortest_path
from hainan_k2.fsa.lattices.topology import compile_tdt_graph, intersect_tdt, tdt_dense, tdt_topo
from tests.fsa.lattices.test_nar_lattice import tables
from tests.oracles.search import DURATION_SETS, shape

k2 = pytest.importorskip("k2")

SKIPS = st.sampled_from((0.0, 0.2))
EVERYTHING = (1e4, 1e4, 0, 10000)  # beams and active states that prune nothing


@st.composite
def problems(draw):
    """token and duration log-probabilities, lens of at least one frame, durations."""
    durations = draw(st.sampled_from(DURATION_SETS))
    lens = draw(st.lists(st.integers(1, 20), min_size=1, max_size=4))
    seed, vocab_size = draw(st.integers(0, 10**6)), draw(st.integers(2, 7))
    return (*tables(seed, lens, vocab_size, durations), torch.tensor(lens), durations)


@settings(max_examples=30, deadline=None)
@given(problems(), st.sampled_from((1.0, 0.3)), st.sampled_from((0.0, 0.7)), st.sampled_from((0.0, 0.9)), SKIPS)
def test_the_topology_has_the_paths_of_the_nar_lattice(problem, scale, penalty, bonus, skip):
    tokens, duration_log_probs, lens, durations = problem
    vocab_size = tokens.shape[2]
    lattice = nar_lattice(tokens, duration_log_probs, lens, durations, None, scale, penalty, bonus, None, skip)
    scores = duration_scores(tokens, duration_log_probs, lens, durations, scale, skip)
    dense = tdt_dense(tokens, scores, lens, penalty, bonus)
    pruned = intersect_tdt(tdt_topo(vocab_size, durations), dense, vocab_size, durations, *EVERYTHING)
    totals = [x.get_tot_scores(use_double_scores=True, log_semiring=True) for x in (lattice, pruned)]
    assert torch.allclose(*totals, atol=1e-4)
    hypotheses = [hypotheses_from_lattice(shortest_path(x), lens, x) for x in (lattice, pruned)]
    for one, other in zip(*hypotheses):
        assert shape(one) == shape(other)
        assert one.score == pytest.approx(other.score, abs=1e-4)
        assert [t.confidence for t in one.tokens] == pytest.approx([t.confidence for t in other.tokens], abs=1e-4)


def test_arcs_are_those_of_the_docstring():
    topology = tdt_topo(3, (0, 1, 3))
    assert list(zip(topology.arcs.values()[:, :3].tolist(), topology.aux_labels.tolist())) == [
        ([0, 1, 0], 0),
        ([0, 1, 1], 1),
        ([0, 1, 2], 2),
        ([0, 6, -1], -1),
        ([1, 0, 3], 0),
        ([1, 0, 4], 0),
        ([1, 5, 5], 0),
        ([2, 0, 6], 0),
        ([3, 2, 6], 0),
        ([3, 6, -1], -1),
        ([4, 3, 6], 0),
        ([5, 4, 6], 0),
        ([5, 6, -1], -1),
    ]


def test_a_graph_restricts_the_tokens():
    tokens, duration_log_probs = tables(5, [9], 4, (0, 1, 2))
    graph = compile_tdt_graph(k2.linear_fsa([3, 1]), 4, (0, 1, 2))
    lens = torch.tensor([9])
    lattice = intersect_tdt(graph, tdt_dense(tokens, duration_log_probs, lens), 4, (0, 1, 2), *EVERYTHING)
    assert hypotheses_from_lattice(shortest_path(lattice), lens)[0].ids == (3, 1)
    short = intersect_tdt(
        graph, tdt_dense(tokens[:, :1], duration_log_probs[:, :1], torch.tensor([1])), 4, (0, 1, 2), *EVERYTHING
    )
    assert short.num_arcs == 0


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="vocab_size is 1"):
        tdt_topo(1, (0, 1))
    with pytest.raises(ValueError, match="durations must be"):
        tdt_topo(3, (2, 1))
    with pytest.raises(ValueError, match="label 4: labels should be tokens 1 ... 3"):
        compile_tdt_graph(k2.linear_fsa([4]), 4, (0, 1))
    with pytest.raises(ValueError, match="label 0: .* epsilons removed"):
        compile_tdt_graph(k2.linear_fsa([0]), 4, (0, 1))
    tokens, duration_log_probs = tables(0, [4], 3, (1, 2))
    with pytest.raises(ValueError, match=r"frame_lens \[0\] should be 1 lengths of 1 to 4"):
        tdt_dense(tokens, duration_log_probs, torch.tensor([0]))
    with pytest.raises(ValueError, match=r"should be \(B, T, V\) and \(B, T, D\)"):
        tdt_dense(tokens, duration_log_probs[:, :2], torch.tensor([4]))
