"""Archives for Kaldi: every path of the lattice, with its words, frames and costs; and kaldifst reads the FSTs."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2 import compose, lattice_times, nar_lattice, save_lattice, shortest_path
from hainan_k2.fsa.language.ngram import NgramLm
from hainan_k2.fsa.lattices.archive import archive
from hainan_k2.fsa.lattices.lm_lattice import lm_lattice
from tests.fsa.lattices.kaldi_archives import compact_paths, read_archive
from tests.fsa.lattices.test_nar_lattice import problems, tables
from tests.oracles import search as oracle
from tests.oracles.lm import SYMBOLS, language_models, lm_paths

k2 = pytest.importorskip("k2")


def frame_labels(path, length):
    """1 + token on the frame of a token, 1 on the frames up to the next one: the string that Kaldi's tools count."""
    labels = [1] * length
    for token, frame in path:
        labels[frame] = 1 + token
    return tuple(labels)


@settings(max_examples=25, deadline=None)
@given(problems(max_frames=3), st.booleans())
def test_a_compact_lattice_has_every_path_with_its_frames(problem, binary):
    tokens, durations_lp, lens, durations = problem
    lattice = nar_lattice(*problem)
    names = [f"utt{i}" for i in range(len(lens))]
    fsts = read_archive(b"".join(archive(lattice, names, compact=True, binary=binary, frame_lens=lens)), compact=True)
    assert list(fsts) == names
    for b, fst in enumerate(fsts.values()):
        rows = tokens[b, : lens[b]].tolist(), durations_lp[b, : lens[b]].tolist()
        expected = [
            (tuple(token for token, _ in path), frame_labels(path, int(lens[b])), -score)
            for path, score in oracle.nar_paths(*rows, durations)
        ]
        found = [(words, labels, graph + acoustic) for words, labels, graph, acoustic in compact_paths(fst)]
        assert all(graph == 0 for *_, graph, _ in compact_paths(fst))
        found, expected = sorted(found), sorted(expected)
        assert [path[:2] for path in found] == [path[:2] for path in expected]
        for way in {path[:2] for path in expected}:  # a way may have several durations
            costs = ([cost for *same, cost in paths if tuple(same) == way] for paths in (found, expected))
            assert next(costs) == pytest.approx(next(costs), abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(problems(max_frames=3), language_models(), st.sampled_from(("l.ark", "l.ark.txt")))
def test_graph_costs_are_those_of_the_language_model(tmp_path_factory, problem, lm, name):
    tokens, durations_lp, lens, durations = problem
    path = tmp_path_factory.mktemp("lm")
    read = NgramLm.read(lm.write(path / "lm.arpa"), SYMBOLS)
    lattice = lm_lattice(*problem, [(read, 0.5)], top_k=None, beam=math.inf, max_active=10**9)
    save_lattice(lattice, path / name, frame_lens=lens)
    fsts = read_archive((path / name).read_bytes(), compact=True)
    for b, fst in enumerate(fsts.values()):
        rows = tokens[b, : lens[b]].tolist(), durations_lp[b, : lens[b]].tolist()
        plain = list(oracle.nar_paths(*rows, durations))
        with_lm = [score for _, score in lm_paths(plain, [(lm, 0.5)])]
        costs = [(score - both, -score) for (_, score), both in zip(plain, with_lm) if both > -math.inf]
        found = [(graph, acoustic) for _, _, graph, acoustic in compact_paths(fst)]
        for column in range(2):
            expected = sorted(cost[column] for cost in costs)
            assert sorted(cost[column] for cost in found) == pytest.approx(expected, abs=1e-3)


def outputs_lattice(ragged):
    """A lattice of two utterances of 3 and 2 frames, composed with a transducer: token 1 to 7, 2 to 8, 3 to nothing."""
    lens = torch.tensor([3, 2])
    lattice = nar_lattice(*tables(5, lens.tolist(), 4, (0, 1, 3)), lens, (0, 1, 3))
    own = k2.Fsa.from_str("0 1 1 7 -0.5\n0 1 2 8 -0.25\n0 1 3 0 0\n1 1 3 0 0\n1 2 -1 -1 0\n2\n", acceptor=False)
    composed = compose(lattice, own)
    if ragged:  # token 1 to 7 9 9
        words = [[7, 9, 9] if word == 7 else [word] * (word != 0) for word in composed.aux_labels.tolist()]
        composed.aux_labels = k2.RaggedTensor(words)
    return composed, lens


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("name", ["l.ark", "l.ark.txt", "l.fst.ark", "l.txt"])
def test_outputs_of_any_number(tmp_path, ragged, name):
    lattice, lens = outputs_lattice(ragged)
    save_lattice(lattice, tmp_path / name, ["a", "b"], lens)
    compact = "fst" not in name and name != "l.txt"
    fsts = read_archive((tmp_path / name).read_bytes(), compact)
    assert list(fsts) == ["a", "b"]
    totals = lattice.get_tot_scores(use_double_scores=True, log_semiring=True).tolist()
    for fst, length, total in zip(fsts.values(), lens.tolist(), totals):
        if compact:
            paths = list(compact_paths(fst))
            assert {words for words, *_ in paths} == {(7, 9, 9) if ragged else (7,), (8,), ()}
            assert {len(labels) for _, labels, *_ in paths} == {length}
            for words, labels, *_ in paths:
                assert sum(label > 1 for label in labels) > 0 and (8 in words) == (3 in labels)
            mass = sum(math.exp(-graph - acoustic) for *_, graph, acoustic in paths)
            assert math.log(mass) == pytest.approx(total, abs=1e-4)
        else:
            outputs = {(i, o) for arcs in fst[0].values() for _, i, o, _ in arcs}
            assert outputs == {(1, 7), (2, 8), (3, 0), (0, 0)} | ({(0, 9)} if ragged else set())


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("name", ["l.fst.ark", "l.txt"])
def test_kaldis_readers_read_the_fsts(tmp_path, ragged, name):
    kaldifst = pytest.importorskip("kaldifst")
    lattice, _ = outputs_lattice(ragged)
    save_lattice(lattice, tmp_path / name, ["a", "b"])
    names, best = [], shortest_path(lattice)
    scores = best.get_tot_scores(use_double_scores=True, log_semiring=False).tolist()
    with kaldifst.SequentialVectorFstReader(f"ark:{tmp_path / name}") as reader:
        for (key, fst), score in zip(reader, scores):  # an FST lives until the next one is read
            names.append(key)
            _, labels, words, weight = kaldifst.get_linear_symbol_sequence(kaldifst.shortest_path(fst))
            assert -weight.value == pytest.approx(score, abs=1e-4)
            assert tuple(words) in {(7, 9, 9) if ragged else (7,), (8,), ()} and labels
    assert names == ["a", "b"]


def test_an_utterance_without_paths_has_an_empty_fst(tmp_path):
    lens = torch.tensor([2, 0, 1])
    lattice = compose(nar_lattice(*tables(5, lens.tolist(), 4, (0, 1, 3)), lens, (0, 1, 3)), k2.linear_fsa([1]))
    for name in ("l.ark", "l.ark.txt"):
        save_lattice(lattice, tmp_path / name, frame_lens=lens)
        fsts = read_archive((tmp_path / name).read_bytes(), compact=True)
        assert fsts["1"] == ({}, {}) and [words for words, *_ in compact_paths(fsts["2"])] == [(1,)] * 3


@pytest.mark.parametrize("name", ["l.ark", "l.ark.txt", "l.fst.ark", "l.txt"])
def test_arcs_of_probability_0_are_left_out(tmp_path, name):
    lens = torch.tensor([1])
    tokens, durations_lp = tables(5, [1], 4, (1, 2))
    tokens[0, 0, 2] = -math.inf
    save_lattice(nar_lattice(tokens, durations_lp, lens, (1, 2)), tmp_path / name, ["a"], lens)
    compact = ".ark" in name and "fst" not in name
    arcs, _ = read_archive((tmp_path / name).read_bytes(), compact)["a"]
    outputs = [output for leaving in arcs.values() for _, _, output, _ in leaving]
    assert sorted(outputs) == ([0, 0, 1, 1, 3, 3] if compact else [0, 0, 0, 1, 3])  # with durations, without


def test_times_without_the_number_of_frames():
    """The duration 3 overshoots, into a state of its own: the utterance ends where the duration 1 does."""
    fsa = k2.Fsa.from_str("0 1 5 0\n1 2 0 0\n1 3 0 0\n2 4 -1 0\n3 4 -1 0\n4\n")
    fsa.frame = torch.tensor([0, -1, -1, -1, -1], dtype=torch.int32)
    fsa.duration = torch.tensor([-1, 1, 3, -1, -1], dtype=torch.int32)
    start, end = lattice_times(k2.create_fsa_vec([fsa]))
    assert start.tolist() == [0.0, 0.0, 0.0, 0.08, 0.08] and end.tolist() == [0.0, 0.08, 0.08, 0.08, 0.08]


def test_what_has_no_times_is_refused(tmp_path):
    plain = k2.create_fsa_vec([k2.linear_fsa([1, 2])])
    with pytest.raises(ValueError, match="needs attributes `frame` and `duration`"):
        save_lattice(plain, tmp_path / "l.ark")
    assert not (tmp_path / "l.ark").exists()
    save_lattice(plain, tmp_path / "l.fst.ark")
    assert read_archive((tmp_path / "l.fst.ark").read_bytes(), compact=False)["0"][0][0] == [(1, 1, 1, 0.0)]
    with pytest.raises(ValueError, match=r"frame_lens must hold 2 integers"):
        lattice_times(outputs_lattice(False)[0], torch.tensor([1]))


@settings(max_examples=25, deadline=None)
@given(problems(max_frames=8))
def test_times_of_arcs(problem):
    lattice, lens = nar_lattice(*problem), problem[2]
    start, end = lattice_times(lattice, lens)
    is_token = lattice.frame >= 0
    assert torch.equal(start[is_token], lattice.frame[is_token].double() * 0.08) and torch.equal(
        end[is_token], start[is_token]
    )
    owner = torch.repeat_interleave(lattice.arcs.shape().row_splits(1).diff().long())[
        lattice.arcs.shape().row_ids(2).long()
    ]
    took = (end - start)[lattice.duration >= 0] / 0.08
    left = lens[owner] - start / 0.08
    expected = torch.minimum(lattice.duration.clamp(min=1).double(), left)[lattice.duration >= 0]
    assert torch.allclose(took, expected)
