"""Best paths and posteriors by torch: against every path of small lattices, and against k2 where it works."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.k2 import why_no_k2
from hainan_k2.fsa.language.ngram import NgramLm
from hainan_k2.fsa.lattices.layers import arc_posteriors, best_paths
from hainan_k2.fsa.lattices.lm_lattice import lm_arcs
from hainan_k2.fsa.lattices.nar_lattice import make_tables, nar_arcs
from tests.fsa.lattices.test_nar_lattice import problems
from tests.oracles.lm import SYMBOLS, language_models

ALL = {"top_k": None, "duration_scale": 0.7, "blank_penalty": 0.1, "token_bonus": 0.2}


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm")
    return lambda lm: NgramLm.read(lm.write(folder / "lm.arpa"), SYMBOLS)


def arcs_of(problem, lm, read):
    tables = make_tables(*problem, **ALL)
    return nar_arcs(tables) if lm is None else lm_arcs(tables, [(read(lm), 0.5)], math.inf, 10**9)


def every_path(arcs, b):
    """The rows of the arcs of every path of lattice b."""
    rows = (arcs.owner() == b).nonzero()[:, 0].tolist()
    source, target, final = arcs.source.tolist(), arcs.target.tolist(), int(arcs.num_states[b]) - 1

    def onward(state):
        if state == final:
            yield []
        for row in rows:
            if source[row] == state:
                yield from ([row, *rest] for rest in onward(target[row]))

    return list(onward(0)) if final >= 0 else []


@settings(max_examples=40, deadline=None)
@given(problems(max_frames=3), st.none() | language_models(max_order=2))
def test_every_path(read, problem, lm):
    arcs = arcs_of(problem, lm, read)
    path, scores = best_paths(arcs)
    posteriors, owner = arc_posteriors(arcs), arcs.owner()
    assert len(posteriors) == len(owner)
    for b, best in enumerate(scores.tolist()):
        paths = every_path(arcs, b)
        totals = [math.fsum(arcs.score[rows].tolist()) for rows in paths]
        assert best == pytest.approx(max(totals, default=-math.inf), abs=1e-9)
        own = path[owner[path] == b].tolist()
        assert not paths or totals[paths.index(own)] == pytest.approx(best, abs=1e-9)
        expected = torch.zeros(len(owner), dtype=torch.float64)
        whole = sum(math.exp(total) for total in totals)
        for rows, total in zip(paths, totals):
            expected[rows] += math.exp(total) / whole
        assert torch.allclose(posteriors[owner == b], expected[owner == b], atol=1e-9)


@pytest.mark.skipif(bool(why_no_k2()), reason="k2 does not work here")
@settings(max_examples=40, deadline=None)
@given(problems(max_frames=12), st.none() | language_models())
def test_it_is_what_k2_computes(read, problem, lm):
    import k2

    arcs = arcs_of(problem, lm, read)
    lattice = arcs.fsa()
    path, scores = best_paths(arcs)
    expected = k2.shortest_path(lattice, use_double_scores=True)
    totals = expected.get_tot_scores(use_double_scores=True, log_semiring=False)
    assert torch.allclose(scores, totals, atol=1e-5)
    assert torch.allclose(
        arc_posteriors(arcs), lattice.get_arc_post(use_double_scores=True, log_semiring=True).exp(), atol=1e-5
    )
    assert arcs.label[path].tolist() == expected.labels.tolist()
    assert arcs.frame[path].tolist() == expected.frame.tolist()


def test_lattices_without_states_and_paths(read):
    tokens = torch.full((2, 3, 4), -math.inf)
    tokens[1] = 0.0
    durations = torch.zeros(2, 3, 2)
    arcs = nar_arcs(make_tables(tokens, durations, torch.tensor([3, 3]), (0, 1), **ALL))
    path, scores = best_paths(arcs)
    assert scores[0] == -math.inf and scores[1] > -math.inf and set(arcs.owner()[path].tolist()) == {1}
    posteriors = arc_posteriors(arcs)
    assert (posteriors[arcs.owner() == 0] == 0).all() and (posteriors[arcs.owner() == 1] > 0).any()
