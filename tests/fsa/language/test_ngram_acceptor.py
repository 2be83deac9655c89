"""G of an ARPA file: every way through it, the n-gram model it is made of, and kaldilm's G where that is installed."""

import math
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.language.acceptor import read_acceptor
from hainan_k2.fsa.language.ngram import NgramLm
from hainan_k2.fsa.language.ngram_acceptor import read_arpa_acceptor
from tests.oracles import graph as oracle
from tests.oracles.lm import SYMBOLS, language_models

WORDS = ("<eps>", "x", "y", "z", "#0", "<s>", "</s>")
BACKOFF = WORDS.index("#0")


def arcs_of(acceptor):
    """{state: [(label, target, score)]}"""
    table = {state: [] for state in range(len(acceptor.final))}
    columns = (acceptor.source, acceptor.label, acceptor.target, acceptor.score)
    for source, *arc in zip(*(column.tolist() for column in columns)):
        table[source].append(tuple(arc))
    return table


def ways(acceptor, labels, backoff=BACKOFF):
    """The scores of all paths of these labels, back-off arcs being free to take."""
    table, scores = arcs_of(acceptor), []
    waiting = [(0, 0, 0.0)]
    while waiting:
        state, at, score = waiting.pop()
        if at == len(labels) and math.isfinite(acceptor.final[state]):
            scores.append(score + acceptor.final[state])
        for label, target, weight in table[state]:
            if label == backoff:
                waiting.append((target, at, score + weight))
            elif at < len(labels) and label == labels[at]:
                waiting.append((target, at + 1, score + weight))
    return scores


def longest_match(acceptor, labels, backoff):
    """The score of the path that backs off only where a state has no arc of the label, as an n-gram model scores."""
    table, state, total = arcs_of(acceptor), 0, 0.0
    for label in [*labels, None]:
        while not (math.isfinite(acceptor.final[state]) if label is None else label in {a[0] for a in table[state]}):
            lower = [arc for arc in table[state] if arc[0] == backoff]
            if not lower:
                return -math.inf
            ((_, state, weight),) = lower
            total += weight
        if label is None:
            return total + acceptor.final[state]
        ((state, weight),) = [arc[1:] for arc in table[state] if arc[0] == label]
        total += weight


@settings(max_examples=60, deadline=None)
@given(language_models(complete=True), st.data())
def test_paths_without_needless_back_off_score_as_the_model(tmp_path_factory, reference, data):
    path = reference.write(tmp_path_factory.mktemp("lm") / "lm.arpa", drop_useless=data.draw(st.booleans()))
    table = (*SYMBOLS, "#0", "<s>", "</s>")
    acceptor = read_arpa_acceptor(path, table)
    known = [id for id, symbol in enumerate(SYMBOLS) if (symbol,) in reference.ngrams]
    sentences = data.draw(st.lists(st.lists(st.sampled_from(known), max_size=6), min_size=1, max_size=8))
    expected = NgramLm.read(path, SYMBOLS).score(sentences).tolist()
    scores = [longest_match(acceptor, sentence, table.index("#0")) for sentence in sentences]
    assert scores == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_the_best_path_is_the_best_way_to_back_off(tmp_path, order):
    ngrams = oracle.random_ngrams(order, "xyz", order)
    (tmp_path / "lm.arpa").write_text(oracle.arpa_text(ngrams))
    acceptor = read_arpa_acceptor(tmp_path / "lm.arpa", WORDS)
    for same in (acceptor, read_acceptor(acceptor.text(), "G", len(WORDS))):
        for sentence in ([], [1], [3, 1], [2, 2, 3], [1, 2, 3, 1]):
            expected = oracle.best_way(ngrams, [WORDS[i] for i in sentence])
            assert max(ways(same, sentence)) == pytest.approx(expected, abs=1e-4)


def test_every_state_but_the_start_has_arcs_beside_its_back_off(tmp_path):
    for seed in range(8):
        (tmp_path / "lm.arpa").write_text(oracle.arpa_text(oracle.random_ngrams(seed, "xyz", 1 + seed % 4)))
        acceptor = read_arpa_acceptor(tmp_path / "lm.arpa", WORDS)
        for state, arcs in arcs_of(acceptor).items():
            labels = [label for label, _, _ in arcs]
            assert len(set(labels)) == len(labels)
            assert not state or {*labels} - {BACKOFF} or math.isfinite(acceptor.final[state])


def canonical(acceptor):
    """Arcs and final scores with states numbered breadth first, and without those that only pass on to a lower one."""
    table, final = arcs_of(acceptor), acceptor.final.tolist()

    def reached(state, score=0.0):
        while state and len(table[state]) == 1 and table[state][0][0] == BACKOFF and math.isinf(final[state]):
            _, state, weight = table[state][0]
            score += weight
        return state, score

    number, order, arcs, scores = {0: 0}, [0], [], []
    for state in order:  # grows as it goes
        for label, target, weight in sorted(table[state]):
            target, weight = reached(target, weight)
            if target not in number:
                number[target] = len(number)
                order.append(target)
            arcs.append((number[state], number[target], label))
            scores.append(weight)
    return arcs, [*scores, *(final[state] for state in order)]


@pytest.mark.parametrize("seed", range(8))
def test_kaldilm_makes_the_same_graph(tmp_path, seed):
    """Up to state numbers, and to the states that kaldilm gives to histories which nothing follows."""
    pytest.importorskip("kaldilm")
    path, table = tmp_path / "lm.arpa", tmp_path / "words.txt"
    path.write_text(oracle.arpa_text(oracle.random_ngrams(seed, "xyz", 1 + seed % 4)))
    table.write_text("".join(f"{word} {i}\n" for i, word in enumerate(WORDS)))
    command = [sys.executable, "-m", "kaldilm", f"--read-symbol-table={table}", "--disambig-symbol=#0", path]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    theirs, ours = read_acceptor(text, "G", len(WORDS)), read_arpa_acceptor(path, WORDS)
    (arcs, scores), (expected_arcs, expected_scores) = canonical(ours), canonical(theirs)
    assert arcs == expected_arcs and scores == pytest.approx(expected_scores, abs=1e-4)
    assert len(ours.final) <= len(theirs.final)
    rng = random.Random(seed)
    for sentence in ([rng.randint(1, 3) for _ in range(n)] for n in range(6)):
        assert max(ways(ours, sentence)) == pytest.approx(max(ways(theirs, sentence)), abs=1e-4)


ODD = """\\data\\
ngram 1=6
ngram 2=5

\\1-grams:
-1 x -0.1
-2 y
-1 </s> -0.5
-99 <s> -0.2
-3 <unk> -0.3
-2 z

\\2-grams:
-0.5 <s> x
-0.6 x <s>
-0.7 </s> y
-0.8 <unk> x
-0.9 x <unk>

\\end\\
"""


def test_n_grams_that_no_sentence_has_are_left_out(tmp_path):
    """<s> within, </s> before a word, and <unk> where the symbol table has none."""
    (tmp_path / "lm.arpa").write_text(ODD)
    acceptor = read_arpa_acceptor(tmp_path / "lm.arpa", WORDS)
    nat = math.log(10.0)
    assert ways(acceptor, []) == pytest.approx([-1.2 * nat])
    assert sorted(ways(acceptor, [1])) == pytest.approx([(-0.2 - 1 - 0.1 - 1) * nat, (-0.5 - 0.1 - 1) * nat])
    assert set(acceptor.label.tolist()) == {1, 2, 3, BACKOFF}
    named = read_arpa_acceptor(tmp_path / "lm.arpa", (*WORDS, "<unk>"))
    assert len(ways(named, [7, 1])) == 2  # by the bigram <unk> x, and by backing off from <unk> to x
    with pytest.raises(ValueError, match=r"lm.arpa:6: 'x' is not a token of the model"):
        read_arpa_acceptor(tmp_path / "lm.arpa", ("x", *WORDS[2:]))  # the symbol 0 is epsilon
