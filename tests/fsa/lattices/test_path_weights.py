"""Other weights on a lattice that is there already, against the best path over all alignments with these weights."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.language.ngram import NgramLm
from hainan_k2.fsa.lattices.duration_scores import duration_scores
from hainan_k2.fsa.lattices.lm_lattice import lm_lattice
from hainan_k2.fsa.lattices.nar_lattice import nar_lattice
from hainan_k2.fsa.lattices.path_weights import PathWeights, WeightedLattice
from hainan_k2.fsa.lattices.paths import hypotheses_from_lattice, shortest_path
from hainan_k2.fsa.lattices.topology import intersect_tdt, tdt_dense, tdt_topo
from tests.oracles.lm import SYMBOLS, language_models, token_passing
from tests.oracles.search import batches, nar_tables, shape, viterbi

pytest.importorskip("k2")
some_weights = st.builds(
    PathWeights,
    st.sampled_from((0.5, 1.0, 2.5)),
    st.sampled_from((-0.5, 0.0, 1.5)),
    st.sampled_from((0.0, 0.4)),
    st.sampled_from((0.0, 0.3)),
    st.sampled_from((0.3, 0.7, 1.1)),
)


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm")
    return lambda lm: NgramLm.read(lm.write(folder / "lm.arpa"), SYMBOLS)


def tables(batch):
    model, encoded, lens = batch
    return (*model.joiner.log_probs(model.joiner.project_encoder(encoded), None), lens, model.durations)


def options(weights):
    return {name: getattr(weights, name) for name in ("duration_scale", "blank_penalty", "token_bonus", "skip_scale")}


def duration_rows(token_rows, rows, durations, weights):
    """Rows of weighted durations: the log-probability, and the blanks on the frames between."""
    weighted = []
    for time, row in enumerate(rows):
        targets = [min(len(rows), time + max(1, duration)) for duration in durations]
        skipped = [sum(token_rows[t][0] for t in range(time + 1, target)) for target in targets]
        scores = zip(row, skipped)
        weighted.append([weights.duration_scale * own + weights.skip_scale * blanks for own, blanks in scores])
    return weighted


@settings(max_examples=30, deadline=None)
@given(batches(max_frames=10), language_models(), some_weights, some_weights)
def test_the_best_path_of_a_lattice_with_language_model(read, batch, lm, made, other):
    model, encoded, lens = batch
    tokens, durations, *rest = tables(batch)
    pruning = {"top_k": None, "beam": 1e4, "max_active": 10**6}
    lattice = lm_lattice(tokens, durations, *rest, [(read(lm), made.lm_scale)], **pruning, **options(made))
    weighted = WeightedLattice(lattice, tokens, durations, lens, model.durations, made)
    for weights in (other, made, other):
        again = weighted.at(weights)
        hypotheses = hypotheses_from_lattice(shortest_path(again), lens)
        for i, hypothesis in enumerate(hypotheses):
            rows = nar_tables(model, encoded[i, : lens[i]])
            scores = duration_rows(*rows, model.durations, weights)
            penalties = {"bonus": weights.token_bonus, "penalty": weights.blank_penalty}
            expected = token_passing(rows[0], scores, model.durations, [(lm, weights.lm_scale)], **penalties)
            if expected is None:
                assert hypothesis.score == -torch.inf
            else:
                assert shape(hypothesis) == expected[0]
                assert hypothesis.score == pytest.approx(expected[1], abs=1e-4)
        direct = lm_lattice(tokens, durations, *rest, [(read(lm), weights.lm_scale)], **pruning, **options(weights))
        assert torch.allclose(again.scores, direct.scores, atol=1e-4)
        assert torch.allclose(again.lm_scores, direct.lm_scores, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(batches(max_frames=10), some_weights, some_weights, st.booleans())
def test_the_best_path_of_a_lattice_without(batch, made, other, by_topology):
    """Of nar_lattice, and of the same paths as k2's pruned search makes them."""
    model, encoded, lens = batch
    made, other = (replace(weights, lm_scale=0.0) for weights in (made, other))
    tokens, durations, *rest = tables(batch)
    rows = [i for i in range(len(lens)) if lens[i] or not by_topology]
    if not rows:
        return
    part = tokens[rows], durations[rows], lens[rows]
    if by_topology:
        topology = tdt_topo(model.vocab_size, model.durations)
        scores = duration_scores(*part, model.durations, made.duration_scale, made.skip_scale)
        dense = tdt_dense(part[0], scores, part[2], made.blank_penalty, made.token_bonus)
        lattice = intersect_tdt(topology, dense, model.vocab_size, model.durations, 1e4, 1e4, 1, 10**6)
    else:
        lattice = nar_lattice(*part, model.durations, **options(made))
    again = WeightedLattice(lattice, *part, model.durations, made).at(other)
    for i, hypothesis in zip(rows, hypotheses_from_lattice(shortest_path(again), lens[rows])):
        expected = viterbi(
            *nar_tables(model, encoded[i, : lens[i]]),
            model.durations,
            scale=other.duration_scale,
            blank_penalty=other.blank_penalty,
            bonus=other.token_bonus,
            skip=other.skip_scale,
        )
        assert hypothesis.score == pytest.approx(expected[1], abs=1e-4)


def test_weights_and_lattice_must_fit():
    tokens, durations = torch.zeros(1, 2, 3).log_softmax(-1), torch.zeros(1, 2, 2).log_softmax(-1)
    scores = tokens, durations, torch.tensor([2])
    lattice = nar_lattice(*scores, (0, 1))
    with pytest.raises(ValueError, match="lm_scale is 0.5 for a lattice without lm_scores"):
        WeightedLattice(lattice, *scores, (0, 1), PathWeights(lm_scale=0.5))
    with pytest.raises(ValueError, match="lm_scale is 0.5, but the lattice was made without a language model"):
        WeightedLattice(lattice, *scores, (0, 1), PathWeights()).at(PathWeights(lm_scale=0.5))
    with pytest.raises(ValueError, match="FsaVec|single"):
        WeightedLattice(lattice[0], *scores, (0, 1), PathWeights())
