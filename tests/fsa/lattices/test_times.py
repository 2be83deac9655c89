"""Times of best paths, and the attributes by which other toolkits read these lattices."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.language.ngram import NgramLm
from hainan_k2.fsa.lattices.lm_lattice import lm_lattice
from hainan_k2.fsa.lattices.nar_lattice import nar_lattice
from hainan_k2.fsa.lattices.paths import hypotheses_from_lattice, shortest_path
from hainan_k2.fsa.lattices.times import texts_with_times
from hainan_k2.result import Token
from tests.fsa.lattices.test_nar_lattice import problems
from tests.oracles.lm import SYMBOLS, language_models

k2 = pytest.importorskip("k2")

PIECES = ("<blk>", "▁a", "b", "▁c", "d")


def path(arcs, ragged=False):
    """A path of (label, aux_labels, frame, duration)."""
    lines = [f"{n} {n + 1} {label} 0" for n, (label, *_) in enumerate(arcs)]
    fsa = k2.Fsa.from_str("\n".join([*lines, f"{len(arcs)} {len(arcs) + 1} -1 0", str(len(arcs) + 1)]))
    fsa = k2.create_fsa_vec([fsa])
    fsa.frame = torch.tensor([frame for *_, frame, _ in arcs] + [-1], dtype=torch.int32)
    fsa.duration = torch.tensor([duration for *_, duration in arcs] + [-1], dtype=torch.int32)
    outputs = [list(aux) for _, aux, *_ in arcs] + [[-1]]
    fsa.aux_labels = k2.RaggedTensor(outputs) if ragged else torch.tensor([o[0] for o in outputs], dtype=torch.int32)
    return fsa


TOKENS = [(1, 0, 2), (0, 2, 1), (2, 3, 2), (3, 6, 0), (4, 7, 3)]  # token, frame, duration: a b | c d


@pytest.mark.parametrize(
    "outputs",
    [
        [(7,), (0,), (0,), (8,), (0,)],  # on the first token of a word
        [(0,), (0,), (7,), (0,), (8,)],  # on the last
        [(0,), (7,), (0,), (8,), (0,)],  # on the blank inside of the word
    ],
)
@pytest.mark.parametrize("ragged", [False, True])
def test_a_word_has_the_times_of_its_tokens_wherever_it_is(outputs, ragged):
    if ragged:
        outputs = [() if output == (0,) else output for output in outputs]
    best = path([(token, output, frame, duration) for (token, frame, duration), output in zip(TOKENS, outputs)], ragged)
    words = ["<eps>", *"1234567", "y"][:8] + ["x"]
    (hypothesis,) = texts_with_times(best, torch.tensor([12]), PIECES, words)
    assert [(w.text, w.start, w.end) for w in hypothesis.words] == [(words[7], 0.0, 0.4), ("x", 0.48, 0.8)]
    (spelled,) = texts_with_times(best, torch.tensor([12]), PIECES)
    assert [(w.text, w.start, w.end) for w in spelled.words] == [("ab", 0.0, 0.4), ("cd", 0.48, 0.8)]


def test_several_words_on_an_arc_and_what_does_not_fit():
    arcs = [(1, (1, 2), 0, 2), (2, (), 3, 2), (3, (), 6, 1)]
    (hypothesis,) = texts_with_times(path(arcs, ragged=True), torch.tensor([9]), PIECES, ["<eps>", "new", "york"])
    assert [(w.text, w.start, w.end) for w in hypothesis.words] == [("new", 0.0, 0.4), ("york", 0.0, 0.4)]
    with pytest.raises(ValueError, match="aux_label 2 is beyond the 2 words"):
        texts_with_times(path(arcs, ragged=True), torch.tensor([9]), PIECES, ["<eps>", "new"])
    without = path([(1, (0,), 0, 2)])
    del without.aux_labels
    with pytest.raises(ValueError, match="no aux_labels"):
        texts_with_times(without, torch.tensor([9]), PIECES, ["<eps>"])
    (silence,) = texts_with_times(path([(0, (1,), 0, 2)]), torch.tensor([9]), PIECES, ["<eps>", "a"])
    assert silence.words == ()


@settings(max_examples=25, deadline=None)
@given(problems(max_frames=8))
def test_outputs_are_the_labels_and_times_those_of_the_hypothesis(problem):
    lattice = nar_lattice(*problem)
    assert torch.equal(lattice.aux_labels, lattice.labels)
    best = shortest_path(lattice)
    pieces = [f"▁{i}" for i in range(problem[0].shape[2])]
    expected = [h.with_words(pieces) for h in hypotheses_from_lattice(best, problem[2])]
    assert texts_with_times(best, problem[2], pieces) == expected
    by_outputs = texts_with_times(best, problem[2], pieces, [str(i) for i in range(len(pieces))])
    assert [h.words for h in by_outputs] == [h.words for h in expected]


@settings(max_examples=25, deadline=None)
@given(problems(max_frames=8), language_models(), st.sampled_from((0.3, 1.0)))
def test_acoustic_scores_are_what_is_left_without_lm_scores(tmp_path_factory, problem, lm, weight):
    """icefall sets scores = acoustic / lm_scale + lm_scores: with another scale, the lattice of this scale."""
    read = NgramLm.read(lm.write(tmp_path_factory.mktemp("lm") / "lm.arpa"), SYMBOLS)
    everything = dict(top_k=None, beam=float("inf"), max_active=10**9)
    lattice = lm_lattice(*problem, [(read, weight)], **everything)
    assert hasattr(lattice, "lm_scores") and torch.equal(lattice.aux_labels, lattice.labels)
    acoustic = lattice.scores - lattice.lm_scores
    lattice.scores = acoustic + 2 * lattice.lm_scores
    twice = lm_lattice(*problem, [(read, 2 * weight)], **everything)
    totals = [fsa.get_tot_scores(use_double_scores=True, log_semiring=True) for fsa in (lattice, twice)]
    assert torch.allclose(*totals, atol=1e-4)


def test_tokens_are_those_of_the_path():
    best = path([(1, (0,), 0, 2), (2, (0,), 3, 2)])
    assert texts_with_times(best, torch.tensor([9]), PIECES)[0].tokens == (Token(1, 0, 2, 1.0), Token(2, 3, 2, 1.0))
