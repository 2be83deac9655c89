"""N-best texts of lattices and their scores, against the enumeration of all paths of small lattices."""

import math
from collections import defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.lattices import nbest
from hainan_k2.fsa.lattices.nar_lattice import nar_lattice
from hainan_k2.fsa.lattices.nbest import best_texts, text_scores
from hainan_k2.fsa.lattices.paths import hypotheses_from_lattice, shortest_path
from tests.fsa.lattices.test_nar_lattice import tables
from tests.oracles import search as oracle
from tests.oracles.search import DURATION_SETS

k2 = pytest.importorskip("k2")


def log_sum(scores):
    top = max(scores)
    return top + math.log(sum(math.exp(score - top) for score in scores))


def by_text(paths):
    """{text: scores of its alignments}"""
    alignments = defaultdict(list)
    for labels, score in paths:
        alignments[tuple(label for label in labels if label > 0)].append(score)
    return alignments


@st.composite
def acyclic(draw):
    """A topologically sorted FsaVec with parallel arcs, dead ends, epsilons and empty FSAs; and all its paths."""
    lattices, expected = [], []
    for _ in range(draw(st.integers(1, 3))):
        size = draw(st.integers(2, 6))
        arcs = draw(
            st.lists(
                st.tuples(st.integers(0, size - 2), st.integers(1, size - 1), st.integers(0, 2), st.integers(-20, 5)),
                max_size=12,
            )
        )
        arcs = [(s, t, -1 if t == size - 1 else label, score / 4) for s, t, label, score in arcs if s < t]
        lines = [" ".join(map(str, arc)) for arc in sorted(arcs)]
        lattices.append(k2.Fsa.from_str("\n".join([*lines, str(size - 1)])) if arcs else None)

        def paths(state, arcs=arcs, last=size - 1):
            if state == last:
                yield [], 0.0
            for source, target, label, score in arcs:
                if source == state:
                    for labels, rest in paths(target):
                        yield [label, *labels], score + rest

        expected.append(by_text(paths(0)))
    empty = k2.Fsa.from_str("1")
    return k2.create_fsa_vec([empty if lattice is None else lattice for lattice in lattices]), expected


def check(lattice, expected, count):
    result = best_texts(lattice, count)
    texts = result.texts()
    assert result.utterance.tolist() == sorted(result.utterance.tolist())
    totals = text_scores(lattice, result.utterance, texts).tolist()
    for b, alignments in enumerate(expected):
        mine = [n for n, owner in enumerate(result.utterance.tolist()) if owner == b]
        best = sorted((max(scores) for scores in alignments.values()), reverse=True)
        assert result.score[mine].tolist() == pytest.approx(best[:count], abs=1e-4)
        assert len({tuple(texts[n]) for n in mine}) == len(mine) == min(count, len(alignments))
        for n in mine:
            scores = alignments[tuple(texts[n])]
            assert max(scores) == pytest.approx(float(result.score[n]), abs=1e-4)
            assert totals[n] == pytest.approx(log_sum(scores), abs=1e-4)
            arcs = result.arc[result.path == n]
            assert float(lattice.scores[arcs].sum()) == pytest.approx(max(scores), abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(acyclic(), st.sampled_from((1, 2, 3, 50)))
def test_any_acyclic_lattice(problem, count):
    check(*problem, count)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(DURATION_SETS),
    st.lists(st.integers(0, 4), min_size=1, max_size=3),
    st.sampled_from((1, 4, 1000)),
)
def test_the_decoding_lattice(seed, durations, lens, count):
    tokens, duration_log_probs = tables(seed, lens, 3, durations)
    lattice = nar_lattice(tokens, duration_log_probs, torch.tensor(lens), durations)
    expected = []
    for b, length in enumerate(lens):
        paths = oracle.nar_paths(tokens[b, :length].tolist(), duration_log_probs[b, :length].tolist(), durations)
        expected.append(by_text(([token for token, _ in path], score) for path, score in paths))
    check(lattice, expected, count)


def test_all_texts_together_have_probability_one():
    lens, durations = [5, 3, 0], (0, 1, 3)
    lattice = nar_lattice(*tables(1, lens, 3, durations), torch.tensor(lens), durations)
    result = best_texts(lattice, 1000)
    probabilities = text_scores(lattice, result.utterance, result.texts()).exp()
    sums = torch.zeros(3, dtype=torch.float64).index_add(0, result.utterance, probabilities)
    assert sums.tolist() == pytest.approx([1.0] * 3, abs=1e-5)


def larger():
    lens = [40, 0, 25, 33]
    durations = (0, 1, 2, 4, 8)
    lattice = nar_lattice(*tables(5, lens, 30, durations), torch.tensor(lens), durations, top_k=3, token_bonus=1.0)
    return lattice, torch.tensor(lens)


def test_totals_equal_those_of_k2s_compositions():
    lattice, _ = larger()
    result = best_texts(lattice, 20)
    texts = result.texts()
    linear = k2.arc_sort(k2.add_epsilon_self_loops(k2.linear_fsa(texts)))
    composed = k2.intersect_device(k2.arc_sort(lattice), linear, result.utterance.int(), sorted_match_a=True)
    composed = k2.top_sort(k2.connect(composed))
    totals = text_scores(lattice, result.utterance, texts)
    torch.testing.assert_close(composed.get_tot_scores(True, True), totals)
    torch.testing.assert_close(composed.get_tot_scores(True, False), result.score)
    assert (totals > result.score + 0.1).any()


def test_totals_in_parts(monkeypatch):
    lattice, _ = larger()
    result = best_texts(lattice, 7)
    whole = text_scores(lattice, result.utterance, result.texts())
    monkeypatch.setattr(nbest, "_NUMBERS", 1)
    parts = text_scores(lattice, result.utterance, result.texts())
    torch.testing.assert_close(parts, whole, atol=1e-9, rtol=0)  # float64 sums over other shapes


def test_texts_that_the_lattice_does_not_contain():
    lattice, _ = larger()
    assert text_scores(lattice, torch.tensor([], dtype=torch.int64), []).tolist() == []
    assert text_scores(lattice, torch.tensor([1, 1]), [[], [3]]).tolist() == [0.0, -math.inf]
    assert text_scores(lattice, torch.tensor([0]), [[1] * 41]).tolist() == [-math.inf]


def test_times_are_those_of_the_best_alignment():
    lattice, lens = larger()
    result = best_texts(lattice, 9)
    made = result.hypotheses(lens, result.score)
    assert [list(h.ids) for h in made] == result.texts()
    assert [h.num_frames for h in made] == lens[result.utterance].tolist()
    first = [made[n] for n in range(len(made)) if n == 0 or result.utterance[n] != result.utterance[n - 1]]
    for mine, best in zip(first, hypotheses_from_lattice(shortest_path(lattice), lens, lattice)):
        assert mine.tokens == best.tokens and mine.score == pytest.approx(best.score)
    for hypothesis in made:
        for token, following in zip(hypothesis.tokens, hypothesis.tokens[1:]):
            assert following.frame >= token.frame + max(1, token.duration)


def test_selection_reorders():
    lattice, lens = larger()
    result = best_texts(lattice, 4)
    rows = torch.tensor([7, 2, 0])
    some = result.select(rows)
    assert some.texts() == [result.texts()[n] for n in rows]
    assert some.utterance.tolist() == result.utterance[rows].tolist()
    assert [h.tokens for h in some.hypotheses(lens, some.score)] == [
        result.hypotheses(lens, result.score)[n].tokens for n in rows
    ]


def test_wrong_arguments_are_refused():
    lattice, _ = larger()
    with pytest.raises(ValueError, match="count is 0"):
        best_texts(lattice, 0)
    with pytest.raises(ValueError, match="the lattice is a single FSA"):
        best_texts(lattice[0], 1)
    with pytest.raises(ValueError, match="not topologically sorted, or has cycles"):
        best_texts(k2.create_fsa_vec([k2.Fsa.from_str("0 0 1 0\n0 1 -1 0\n1")]), 1)
    for owners in ([1, 0], [0], [0, 4]):
        with pytest.raises(ValueError, match="2 ascending numbers below 4"):
            text_scores(lattice, torch.tensor(owners), [[1], [2]])
