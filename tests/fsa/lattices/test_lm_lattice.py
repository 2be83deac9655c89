import math
from collections import defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.language.lm_file import read_lm
from hainan_k2.fsa.language.ngram import NgramLm
from hainan_k2.fsa.lattices.lm_lattice import lm_lattice
from hainan_k2.fsa.lattices.nar_lattice import nar_lattice
from hainan_k2.fsa.lattices.paths import hypotheses_from_lattice, shortest_path
from tests.fsa.language import test_lookahead_lm as over_words
from tests.fsa.lattices.test_nar_lattice import problems, tables
from tests.oracles import search as oracle
from tests.oracles.lm import SYMBOLS, DictionaryLm, language_models, lm_paths, token_passing
from tests.oracles.search import shape

k2 = pytest.importorskip("k2")

UNPRUNED = {"top_k": None, "beam": math.inf, "max_active": 10**9}


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm")
    return lambda lm: NgramLm.read(lm.write(folder / "lm.arpa"), SYMBOLS)


@st.composite
def scorers(draw, complete=False):
    """One or two (dictionary LM, weight), the second subtracted."""
    lms = [(draw(language_models(complete=complete)), draw(st.sampled_from((0.3, 1.0))))]
    if draw(st.booleans()):
        lms.append((draw(language_models(max_order=2)), draw(st.sampled_from((-0.2, -0.5)))))
    return lms


def rows(problem, i):
    tokens, duration_log_probs, lens, _ = problem
    return tokens[i, : lens[i]].tolist(), duration_log_probs[i, : lens[i]].tolist()


def best_of(lattice, lens):
    return hypotheses_from_lattice(shortest_path(lattice), lens, lattice)


def scores(lattice, log_semiring=False):
    return lattice.get_tot_scores(use_double_scores=True, log_semiring=log_semiring).tolist()


@settings(max_examples=40, deadline=None)
@given(problems(max_frames=12), scorers(), st.sampled_from((1.0, 0.3)), st.sampled_from((0.0, 0.7)))
def test_the_best_path_equals_token_passing(read, problem, lms, scale, bonus):
    lens, durations = problem[2:]
    options = {"duration_scale": scale, "token_bonus": bonus, "blank_penalty": bonus / 2}
    lattice = lm_lattice(*problem, [(read(lm), w) for lm, w in lms], **options, **UNPRUNED)
    for i, hypothesis in enumerate(best_of(lattice, lens)):
        expected = token_passing(*rows(problem, i), durations, lms, scale=scale, bonus=bonus, penalty=bonus / 2)
        if expected is None:
            assert hypothesis.score == -math.inf and lattice[i].num_arcs == 0
            continue
        assert hypothesis.score == pytest.approx(expected[1], abs=1e-4)
        assert shape(hypothesis) == expected[0]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(((1, 2), (0, 1, 3), (2, 4), (0, 2))), st.integers(2, 3), scorers())
def test_the_lattice_is_all_paths(read, seed, durations, vocab_size, lms):
    lens = [4, 0, 2, 1]
    problem = (*tables(seed, lens, vocab_size, durations), torch.tensor(lens), durations)
    lattice = lm_lattice(*problem, [(read(lm), w) for lm, w in lms], **UNPRUNED)
    totals, bests = scores(lattice, log_semiring=True), scores(lattice)
    for i, hypothesis in enumerate(best_of(lattice, problem[2])):
        paths = list(lm_paths(oracle.nar_paths(*rows(problem, i), durations), lms))
        best = max(paths, key=lambda path: path[1])
        total = sum(math.exp(score) for _, score in paths)
        assert bests[i] == pytest.approx(best[1], abs=1e-5)
        assert totals[i] == pytest.approx(math.log(total) if total else -math.inf, abs=1e-5)
        if total:
            assert [(t.id, t.frame) for t in hypothesis.tokens] == best[0]
            mass = defaultdict(float)
            for path, score in paths:
                for emission in path:
                    mass[emission] += math.exp(score) / total
            if len(hypothesis.tokens) == 1:
                token = hypothesis.tokens[0]
                expected = sum(mass[token.id, t] for t in range(lens[i]))
                assert token.confidence == pytest.approx(min(1.0, expected), abs=1e-4)


@settings(max_examples=10, deadline=None)
@given(over_words.models, st.integers(0, 10**6), st.sampled_from(((1, 2), (0, 1, 3), (2, 4))))
def test_a_language_model_over_words(tmp_path_factory, dictionary, seed, durations):
    """All paths of lattices, scored word by word."""
    path = dictionary.write(tmp_path_factory.mktemp("words") / "words.arpa")
    lm, dictionary = read_lm(path, over_words.PIECES, over_words.encode), over_words.SPELLING.with_unknown(dictionary)
    lens = [3, 1]
    problem = (*tables(seed, lens, len(over_words.PIECES), durations), torch.tensor(lens), durations)
    lattice = lm_lattice(*problem, [(lm, 0.7)], **UNPRUNED)
    totals = scores(lattice, log_semiring=True)
    for i, hypothesis in enumerate(best_of(lattice, problem[2])):
        paths = [
            (path, score + 0.7 * over_words.SPELLING.score(dictionary, [id for id, _ in path]))
            for path, score in oracle.nar_paths(*rows(problem, i), durations)
        ]
        total = sum(math.exp(score) for _, score in paths)
        assert totals[i] == pytest.approx(math.log(total) if total else -math.inf, abs=1e-4)
        if total:
            assert hypothesis.score == pytest.approx(max(score for _, score in paths), abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(problems(), language_models(), st.sampled_from((None, 2)), st.booleans())
def test_without_weight_it_is_the_nar_lattice(read, problem, lm, top_k, prune):
    lens = problem[2]
    options = {"duration_scale": 0.5, "token_bonus": 0.3, "blank_penalty": 0.1, "top_k": top_k}
    pruning = {"beam": 0.5, "max_active": 1} if prune else {"beam": math.inf}
    lattice, plain = lm_lattice(*problem, [(read(lm), 0.0)], **options, **pruning), nar_lattice(*problem, **options)
    for a, b in zip(best_of(lattice, lens), best_of(plain, lens)):
        assert shape(a) == shape(b)
        assert a.score == pytest.approx(b.score, abs=1e-4)
    if not prune:
        assert scores(lattice, log_semiring=True) == pytest.approx(scores(plain, log_semiring=True), abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(problems(), scorers(complete=True), st.sampled_from((0.5, 3.0, 8.0)), st.sampled_from((1, 2, 50)))
def test_pruning_is_per_utterance_and_finds_real_paths(read, problem, lms, beam, max_active):
    lens, durations = problem[2:]
    weighted = [(read(lm), w) for lm, w in lms]
    options = {"top_k": 3, "beam": beam, "max_active": max_active}
    together = lm_lattice(*problem, weighted, **options)
    everything = lm_lattice(*problem, weighted, top_k=3, beam=math.inf, max_active=10**9)
    assert together.num_arcs <= everything.num_arcs
    exact = scores(everything)
    for i, hypothesis in enumerate(best_of(together, lens)):
        length = int(lens[i])
        padded = (torch.nn.functional.pad(x[i : i + 1, :length], (0, 0, 0, 2), value=torch.inf) for x in problem[:2])
        lattice = lm_lattice(*padded, lens[i : i + 1], durations, weighted, **options)
        one, other = lattice[0], together[i]
        assert one.arcs.values()[:, :3].tolist() == other.arcs.values()[:, :3].tolist()  # source, target, label
        assert torch.equal(one.frame, other.frame) and torch.equal(one.duration, other.duration)  # whole numbers
        torch.testing.assert_close(one.scores, other.scores, atol=1e-5, rtol=1e-5)
        ids = [SYMBOLS[token.id] for token in hypothesis.tokens]
        assert all(lm.score(ids) > -math.inf for lm, weight in lms if weight > 0)
        assert hypothesis.score <= exact[i] + 1e-4


def test_a_wider_beam_finds_better_paths_up_to_the_best(read):
    problem = (*tables(3, [40], 7, (0, 1, 2, 4)), torch.tensor([40]), (0, 1, 2, 4))
    lm = DictionaryLm({(word,): (-0.1 * len(word), -0.2) for word in ("<s>", "</s>", "<unk>", *SYMBOLS[2:])})
    lm.ngrams.update(
        {
            (a, b): (-0.1 - 0.3 * ((i + 2 * j) % 5), 0.0)
            for i, a in enumerate(SYMBOLS[2:])
            for j, b in enumerate(SYMBOLS[3:])
        }
    )
    lm.order = 2
    lattices = [
        lm_lattice(*problem, [(read(lm), 1.0)], top_k=None, beam=beam, max_active=active)
        for beam, active in ((0.1, 1), (2.0, 8), (5.0, 64), (math.inf, 10**9))
    ]
    arcs = [lattice.num_arcs for lattice in lattices]
    assert arcs == sorted(arcs) and arcs[0] < arcs[-1]
    assert scores(lattices[2]) == pytest.approx(scores(lattices[3]), abs=1e-4)
