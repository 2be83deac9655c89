import math
from collections import defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.lattices.duration_scores import duration_scores, skipped_blanks
from hainan_k2.fsa.lattices.nar_lattice import nar_lattice
from hainan_k2.fsa.lattices.paths import hypotheses_from_lattice, path_tokens, shortest_path, token_posteriors
from tests.oracles import search as oracle
from tests.oracles.search import DURATION_SETS, shape

k2 = pytest.importorskip("k2")


def tables(seed, lens, vocab_size, durations):
    """Random log-probabilities (B, T, V) and (B, T, D), nan in the padding."""
    generator = torch.Generator().manual_seed(seed)
    out = []
    for size in (vocab_size, len(durations)):
        logits = 2 * torch.randn(len(lens), max(max(lens), 1), size, generator=generator)
        out.append(logits.log_softmax(-1))
        for row, length in zip(out[-1], lens):
            row[length:] = math.nan
    return out


@st.composite
def problems(draw, max_frames=20):
    """token and duration log-probabilities, lens, durations."""
    durations = draw(st.sampled_from(DURATION_SETS))
    lens = draw(st.lists(st.integers(0, max_frames), min_size=1, max_size=4))
    seed, vocab_size = draw(st.integers(0, 10**6)), draw(st.integers(2, 7))
    return (*tables(seed, lens, vocab_size, durations), torch.tensor(lens), durations)


@settings(max_examples=40, deadline=None)
@given(problems())
def test_all_paths_have_probability_one_together(problem):
    lattice = nar_lattice(*problem)
    assert lattice.shape == (len(problem[2]), None, None)
    totals = lattice.get_tot_scores(use_double_scores=True, log_semiring=True)
    assert totals.tolist() == pytest.approx([0.0] * len(totals), abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    problems(),
    st.sampled_from((None, 1, 3)),
    st.sampled_from((1.0, 0.3)),
    st.sampled_from((0.0, 0.7)),
    st.sampled_from((0.0, 0.9)),
    st.sampled_from((0.0, 0.2, 1.0)),
)
def test_the_best_path_equals_the_reference(problem, top_k, scale, penalty, bonus, skip):
    tokens, duration_log_probs, lens, durations = problem
    lattice = nar_lattice(tokens, duration_log_probs, lens, durations, top_k, scale, penalty, bonus, None, skip)
    for i, hypothesis in enumerate(hypotheses_from_lattice(shortest_path(lattice), lens)):
        length = int(lens[i])
        rows = tokens[i, :length].tolist(), duration_log_probs[i, :length].tolist()
        expected, score = oracle.viterbi(*rows, durations, scale, penalty, bonus, skip)
        assert shape(hypothesis) == expected
        assert hypothesis.score == pytest.approx(score, abs=1e-4)
        assert hypothesis.num_frames == length


def test_duration_scale_weighs_durations():
    tokens, duration_log_probs = tables(1, [6], 3, (1, 2))
    lattice = nar_lattice(tokens, duration_log_probs, torch.tensor([6]), (1, 2), duration_scale=0.25)
    on_durations = lattice.duration >= 0
    assert torch.allclose(lattice.scores[on_durations], 0.25 * duration_log_probs.flatten())
    assert torch.allclose(lattice.scores[lattice.frame >= 0], tokens.flatten())


def test_a_skipped_frame_costs_a_part_of_its_blank():
    tokens, duration_log_probs = tables(1, [4, 2], 3, (0, 2, 3))
    lens = torch.tensor([4, 2])
    blank = tokens[:, :, 0].double().numpy()
    skipped = skipped_blanks(tokens, lens, (0, 2, 3))
    assert skipped[0, 0].tolist() == pytest.approx([0, blank[0, 1], blank[0, 1] + blank[0, 2]], abs=1e-6)
    assert skipped[0, 2].tolist() == pytest.approx([0, blank[0, 3], blank[0, 3]], abs=1e-6)  # the end is at 4
    assert skipped[1, 0].tolist() == pytest.approx([0, blank[1, 1], blank[1, 1]], abs=1e-6)
    assert not skipped[0, 3].any() and not skipped[1, 1:].any()
    scores = duration_scores(tokens, duration_log_probs, lens, (0, 2, 3), 0.5, 0.2)[0]
    assert torch.allclose(scores, 0.5 * duration_log_probs[0] + 0.2 * skipped[0].float())
    tokens[0, 1, 0] = -math.inf
    assert skipped_blanks(tokens, lens, (0, 2, 3))[0, 0].tolist() == pytest.approx([0, -1e4, blank[0, 2] - 1e4])


def test_arcs_are_those_of_the_docstring():
    tokens, duration_log_probs = tables(2, [2], 3, (0, 1, 4))
    lattice = nar_lattice(tokens, duration_log_probs, torch.tensor([2]), (0, 1, 4))
    arcs = lattice.arcs.values()[:, :3].tolist()
    assert arcs[:6] == [[0, 1, 0], [0, 1, 1], [0, 1, 2], [1, 2, 0], [1, 2, 0], [1, 4, 0]]
    assert arcs[6:] == [[2, 3, 0], [2, 3, 1], [2, 3, 2], [3, 4, 0], [3, 4, 0], [3, 4, 0], [4, 5, -1]]
    assert lattice.frame.tolist() == [0] * 3 + [-1] * 3 + [1] * 3 + [-1] * 4
    assert lattice.duration.tolist() == ([-1] * 3 + [0, 1, 4]) * 2 + [-1]
    assert lattice.properties & k2.fsa_properties.TOPSORTED
    assert lattice.properties & k2.fsa_properties.VALID


def test_top_k_keeps_blank_and_the_best_tokens():
    tokens = torch.tensor([[[0.05, 0.4, 0.1, 0.45]]]).log()
    lattice = nar_lattice(tokens, torch.zeros(1, 1, 1), torch.tensor([1]), (1,), top_k=2)
    assert lattice.labels.tolist() == [0, 3, 1, 0, -1]
    assert lattice.scores.exp().tolist() == pytest.approx([0.05, 0.45, 0.4, 1.0, 1.0])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(((1, 2), (0, 1, 3), (2, 4))))
def test_posteriors_equal_the_sum_over_all_paths(seed, durations):
    lens = [5, 0, 3]
    tokens, duration_log_probs = tables(seed, lens, 3, durations)
    lattice = nar_lattice(tokens, duration_log_probs, torch.tensor(lens), durations, token_bonus=1.0)
    columns = path_tokens(shortest_path(lattice))
    posteriors = token_posteriors(lattice, *columns[:3], torch.tensor(lens)).tolist()
    for i, length in enumerate(lens):
        mass, total = defaultdict(float), 0.0
        rows = tokens[i, :length].tolist(), duration_log_probs[i, :length].tolist()
        for path, score in oracle.nar_paths(*rows, durations):
            probability = math.exp(score + len(path))
            total += probability
            for emission in path:
                mass[emission] += probability
        emitted = zip(*(column.tolist() for column in columns))
        best = [(token, frame) for owner, token, frame, _ in emitted if owner == i]
        for position, (token, frame) in enumerate(best):
            before = best[position - 1][1] if position else -frame - 2
            after = best[position + 1][1] if position + 1 < len(best) else 2 * length
            near = [t for t in range(length) if before + frame < 2 * t <= frame + after]
            expected = min(1.0, sum(mass[token, t] for t in near) / total)
            assert posteriors.pop(0) == pytest.approx(expected, abs=1e-5)
    assert not posteriors


def test_frames_and_durations_survive_a_grammar():
    lens = [9, 4]
    tokens, duration_log_probs = tables(3, lens, 4, (0, 1, 2, 4))
    lattice = nar_lattice(tokens, duration_log_probs, torch.tensor(lens), (0, 1, 2, 4))
    grammar = k2.arc_sort(k2.add_epsilon_self_loops(k2.create_fsa_vec([k2.linear_fsa([2, 1])])))
    composed = k2.intersect_device(grammar, lattice, torch.zeros(2, dtype=torch.int32), sorted_match_a=True)
    best = shortest_path(k2.connect(k2.top_sort(composed)))
    for i, hypothesis in enumerate(hypotheses_from_lattice(best, torch.tensor(lens))):
        assert hypothesis.ids == (2, 1)
        first, second = hypothesis.tokens
        assert first.frame + max(1, first.duration) <= second.frame < lens[i]
    paths = oracle.nar_paths(tokens[1, :4].tolist(), duration_log_probs[1, :4].tolist(), (0, 1, 2, 4))
    best_score = max(score for path, score in paths if [token for token, _ in path] == [2, 1])
    assert hypothesis.score == pytest.approx(best_score, abs=1e-4)


def test_scores_carry_gradients():
    tokens, duration_log_probs = (table.double() for table in tables(4, [4, 2], 3, (1, 2)))
    tokens.requires_grad_()
    lattice = nar_lattice(tokens, duration_log_probs, torch.tensor([4, 2]), (1, 2), top_k=1)
    lattice.get_tot_scores(use_double_scores=True, log_semiring=True).sum().backward()
    visits = tokens.grad.sum(-1)
    assert visits[:, 0].tolist() == pytest.approx([1.0, 1.0], abs=1e-5)
    assert visits[1, 2:].tolist() == [0.0, 0.0]


def test_wrong_arguments_are_refused():
    tokens, duration_log_probs = tables(0, [4], 3, (1, 2))
    with pytest.raises(ValueError, match=r"should be \(B, T, V\) and \(B, T, 3\) for durations \(1, 2, 4\)"):
        nar_lattice(tokens, duration_log_probs, torch.tensor([4]), (1, 2, 4))
    with pytest.raises(ValueError, match=r"frame_lens \[5\] should be 1 lengths of 0 to 4 frames"):
        nar_lattice(tokens, duration_log_probs, torch.tensor([5]), (1, 2))
    with pytest.raises(ValueError, match="top_k is 0"):
        nar_lattice(tokens, duration_log_probs, torch.tensor([4]), (1, 2), top_k=0)
    with pytest.raises(ValueError, match="no utterance"):
        nar_lattice(tokens[:0], duration_log_probs[:0], torch.tensor([], dtype=torch.int64), (1, 2))
    huge = torch.zeros(1).expand(1, 2**20, 4096)
    with pytest.raises(ValueError, match="1048576 frames with 4096 tokens and 1 durations have more than"):
        nar_lattice(huge, huge[:, :, :1], torch.tensor([2**20]), (1,))
