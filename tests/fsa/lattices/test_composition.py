import re

import pytest
import torch

from hainan_k2 import compose, hypotheses_from_lattice, nar_lattice, read_grammar, shortest_path
from hainan_k2.fsa.lattices.composition import composed_arcs, path_outputs
from hainan_k2.fsa.lattices.lm_lattice import lm_lattice
from tests.fsa.lattices.test_nar_lattice import tables
from tests.oracles import grammar as oracle
from tests.oracles.grammar import LetterTokenizer

k2 = pytest.importorskip("k2")
kaldifst = pytest.importorskip("kaldifst")

DURATIONS = (0, 1, 2)
LENS = [5, 3]
USERS_OWN = "0 1 1 -0.25\n0 1 3 -0.75\n1 2 2 0\n2 2 1 -0.5\n2 3 -1 -0.125\n3\n"  # k2's text: token, score
SENTENCES = {
    (first, 2, *[1] * n): score - 0.5 * n - 0.125 for first, score in ((1, -0.25), (3, -0.75)) for n in range(4)
}


@pytest.fixture(scope="module")
def problem():
    """token and duration log-probabilities, lens and durations of a batch."""
    return (*tables(7, LENS, 4, DURATIONS), torch.tensor(LENS), DURATIONS)


def check_against_enumeration(best, problem, sentences):
    tokens, duration_log_probs, lens, durations = problem
    for i, hypothesis in enumerate(hypotheses_from_lattice(best, lens)):
        rows = tokens[i, : lens[i]].tolist(), duration_log_probs[i, : lens[i]].tolist()
        path, score = oracle.best_in_grammar(*rows, durations, sentences)
        assert [(t.id, t.frame) for t in hypothesis.tokens] == [(token, at) for token, at in path if token]
        assert hypothesis.score == pytest.approx(score, abs=1e-4)
        assert all(token.duration in durations for token in hypothesis.tokens)


def test_an_fsa_built_with_k2(problem):
    best = shortest_path(compose(nar_lattice(*problem), k2.Fsa.from_str(USERS_OWN)))
    check_against_enumeration(best, problem, SENTENCES)


def test_an_fsa_composed_with_k2_alone(problem):
    """With k2's own functions between nar_lattice and shortest_path: both of its intersections keep the times."""
    lattice, own = nar_lattice(*problem), k2.arc_sort(k2.Fsa.from_str(USERS_OWN))
    waiting = k2.arc_sort(k2.add_epsilon_self_loops(k2.create_fsa_vec([own])))
    composed = k2.intersect_device(waiting, lattice, torch.zeros(len(LENS), dtype=torch.int32), sorted_match_a=True)
    check_against_enumeration(shortest_path(k2.connect(k2.top_sort(composed))), problem, SENTENCES)
    composed = k2.intersect(k2.arc_sort(lattice), own, treat_epsilons_specially=True)
    check_against_enumeration(shortest_path(k2.connect(k2.top_sort(composed))), problem, SENTENCES)


def test_an_fst_compiled_by_openfst(problem, tmp_path):
    """The same grammar as a transducer, read by k2 and from a file by read_grammar."""
    fst = kaldifst.compile("0 1 1 5 0.25\n0 1 3 6 0.75\n1 2 2 0\n2 2 1 7 0.5\n2 0.125\n", acceptor=False)
    lattice = nar_lattice(*problem)
    read = k2.Fsa.from_openfst(fst.to_str(show_weight_one=True), acceptor=False)
    check_against_enumeration(shortest_path(compose(lattice, read)), problem, SENTENCES)

    fst.write(str(tmp_path / "own.fst"))
    tokenizer = LetterTokenizer()
    grammar = read_grammar(tmp_path / "own.fst", tokenizer)
    best = shortest_path(compose(lattice, grammar))
    check_against_enumeration(best, problem, SENTENCES)
    for hypothesis, output in zip(hypotheses_from_lattice(best, problem[2]), path_outputs(best, grammar.outputs)):
        names = {1: "7", 3: "6"}
        first, _, *rest = hypothesis.ids
        assert [word for word, _, _ in output] == [{**names, 1: "5"}[first], *(names[id] for id in rest)]


def test_sums_count_every_path_once(problem):
    """A grammar that accepts every text leaves the lattice's total, log 1, as it is."""
    everything = k2.Fsa.from_str("".join(f"0 0 {id} 0\n" for id in (1, 2, 3)) + "0 1 -1 0\n1\n")
    composed = compose(nar_lattice(*problem), everything)
    totals = composed.get_tot_scores(use_double_scores=True, log_semiring=True)
    assert totals.tolist() == pytest.approx([0.0] * len(LENS), abs=1e-5)


def test_one_grammar_for_each_utterance(problem):
    own = k2.create_fsa_vec([k2.linear_fsa([1, 2]), k2.linear_fsa([3])])
    hypotheses = hypotheses_from_lattice(shortest_path(compose(nar_lattice(*problem), own)), problem[2])
    assert [h.ids for h in hypotheses] == [(1, 2), (3,)]


def test_a_pruned_lattice_of_language_models_composes_as_well(problem):
    """Without scorers and pruning, lm_lattice is nar_lattice with a token and its duration on one arc."""
    lattice = lm_lattice(*problem, [], top_k=None, beam=torch.inf, max_active=10**6)
    check_against_enumeration(shortest_path(compose(lattice, k2.Fsa.from_str(USERS_OWN))), problem, SENTENCES)


def test_composed_arcs_is_an_upper_bound(problem):
    lattice = nar_lattice(*problem)
    own = k2.create_fsa_vec([k2.Fsa.from_str(USERS_OWN)])
    waiting = k2.arc_sort(k2.add_epsilon_self_loops(own))
    made = k2.intersect_device(waiting, lattice, torch.zeros(len(LENS), dtype=torch.int32), sorted_match_a=True)
    # every frame: 4 token arcs, 3 waiting states for a blank and 3 durations; and the arc at the end
    assert made.num_arcs <= composed_arcs(lattice, own) == sum(LENS) * (4 + 3 + 3 * 3) + len(LENS)


def test_wrong_arguments_are_refused(problem):
    lattice, own = nar_lattice(*problem), k2.Fsa.from_str(USERS_OWN)
    message = (
        f"a lattice of {lattice.num_arcs} arcs composed with a grammar of 5 has up to 130 arcs, at most 100 are "
        "made: compose fewer utterances at once, or use a smaller grammar"
    )
    with pytest.raises(ValueError, match=message):
        compose(lattice, own, max_arcs=100)
    with pytest.raises(ValueError, match=re.escape("the grammar has 1 epsilon arcs (label 0)")):
        compose(lattice, k2.Fsa.from_str("0 1 0 0\n1 2 -1 0\n2\n"))
    with pytest.raises(ValueError, match="3 grammars for 2 utterances"):
        compose(lattice, k2.create_fsa_vec([own] * 3))
    with pytest.raises(ValueError, match="grammar is of type str"):
        compose(lattice, "digits")
    with pytest.raises(ValueError, match="the lattice is a single FSA"):
        compose(lattice[0], own)
    own.frame = torch.zeros(5, dtype=torch.int32)
    with pytest.raises(ValueError, match="both have the attribute frame: rename or delete one"):
        compose(lattice, own)
    with pytest.raises(ValueError, match="no attributes `frame` and `duration`"):
        hypotheses_from_lattice(k2.create_fsa_vec([k2.linear_fsa([1])]), problem[2][:1])


def test_the_vocabulary_of_a_lattice():
    tokens, duration_log_probs = tables(1, [3], 6, (1, 2))
    args = tokens, duration_log_probs, torch.tensor([3]), (1, 2)
    full, some = nar_lattice(*args), nar_lattice(*args, vocabulary=torch.tensor([5, 2]))
    is_token = some.frame >= 0
    assert sorted(some.labels[is_token].tolist()) == sorted([0, 2, 5] * 3)
    for label, frame, score in zip(*(x[is_token].tolist() for x in (some.labels, some.frame, some.scores))):
        assert score == pytest.approx(float(tokens[0, frame, label]))
    assert full.num_arcs - some.num_arcs == 3 * 3
    best = nar_lattice(*args, top_k=1, vocabulary=torch.tensor([5, 2]))
    expected = [5 if row[5] > row[2] else 2 for row in tokens[0].tolist()]
    assert best.labels[best.labels > 0].tolist() == expected
    with pytest.raises(ValueError, match=r"vocabulary holds \[2, 6\]: tokens are 1 to 5"):
        nar_lattice(*args, vocabulary=torch.tensor([2, 6]))


# The README's example: names as there.
EXAMPLE = """
import k2, kaldifst
from hainan_k2 import compose, hypotheses_from_lattice, nar_lattice, shortest_path

lattice = nar_lattice(token_log_probs, duration_log_probs, frame_lens, durations)       # k2.Fsa, B of them

yes_or_no = k2.Fsa.from_str("0 1 12 -0.7\\n0 1 17 -0.7\\n1 2 -1 0\\n2")                    # token 12 or 17, k2 alone
hypotheses = hypotheses_from_lattice(shortest_path(compose(lattice, yes_or_no)), frame_lens)

text = "0 1 12 900 0.7\\n1 2 17 0\\n2 2 5 800 0.1\\n2"                                     # OpenFst: tokens to outputs
fst = k2.Fsa.from_openfst(kaldifst.compile(text).to_str(show_weight_one=True), acceptor=False)
best = shortest_path(compose(lattice, fst))                                             # every k2 function goes on here
for hypothesis, path in zip(hypotheses_from_lattice(best, frame_lens), best):
    print(path.aux_labels[path.aux_labels > 0].tolist(), [(t.id, 0.08 * t.frame) for t in hypothesis.tokens])
"""


def test_the_example_of_the_readme(capsys):
    assert len([line for line in EXAMPLE.splitlines() if line.strip()]) <= 15
    names = {
        "token_log_probs": torch.randn(2, 20, 30).log_softmax(-1),
        "frame_lens": torch.tensor([20, 15]),
        "duration_log_probs": torch.randn(2, 20, 9).log_softmax(-1),
        "durations": range(9),
    }
    exec(EXAMPLE, names)
    assert all(h.ids in ((12,), (17,)) for h in names["hypotheses"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all(line.startswith("[900") and "[(12, " in line for line in lines)
