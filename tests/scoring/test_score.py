import subprocess
import sys
from pathlib import Path

import jiwer
import kaldialign
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.score import main
from hainan_k2.scoring import significance
from hainan_k2.scoring.results import read_recogs, write_results
from hainan_k2.scoring.wer import score

SCRIPT = Path(__file__).parents[2] / "hainan_k2" / "score.py"
RESULTS = [
    ("utt-b", "the cat sat on mat", "a cat sat the mat x"),
    ("utt-a", "x y", "x y"),
    ("utt-c", "", "oh"),
    ("utt-d", "", ""),
    ("utt-e", "q r s", ""),
    ("utt-f", 'it\'s "a"', "it's 'a'"),
]
PERFECT = [(name, reference, reference) for name, reference, _ in RESULTS]
texts = st.lists(st.sampled_from(["a", "bb", "c'c", "dada", "é"]), max_size=7).map(" ".join)


def edit_distance(reference, hypothesis) -> int:
    """Levenshtein's table, row by row."""
    row = list(range(len(hypothesis) + 1))
    for i, r in enumerate(reference, 1):
        above, row = row, [i]
        for j, h in enumerate(hypothesis, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (r != h)))
    return row[-1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(texts, texts), max_size=8))
def test_counts_agree_with_the_definition_and_with_other_tools(pairs):
    scored = score([(f"{i:02d}", *pair) for i, pair in enumerate(pairs)])
    assert [u.id for u in scored.utterances] == [f"{i:02d}" for i in range(len(pairs))]
    for u, (reference, hypothesis) in zip(scored.utterances, pairs):
        assert (u.reference, u.hypothesis) == (tuple(reference.split()), tuple(hypothesis.split()))
        assert u.words.total == edit_distance(u.reference, u.hypothesis)
        assert u.words.total == kaldialign.edit_distance(u.reference, u.hypothesis)["total"]
        assert u.characters.total == edit_distance(reference, hypothesis)
        assert u.words.reference_length == len(u.reference)
        assert u.words.hits + u.words.substitutions + u.words.insertions == len(u.hypothesis)
        assert sum((r for r, _ in u.alignment), ()) == u.reference
        assert sum((h for _, h in u.alignment), ()) == u.hypothesis
    references, hypotheses = [r for r, _ in pairs], [h for _, h in pairs]
    if any(references):
        assert scored.wer == pytest.approx(jiwer.wer(references, hypotheses))
        assert scored.cer == pytest.approx(jiwer.cer(references, hypotheses))
    assert scored.empty_references == references.count("")


def test_rates_of_nothing():
    assert (score([]).wer, score([("a", "", "")]).wer) == (0.0, 0.0)
    assert score([("a", "", "oh")]).wer == float("inf")


def test_white_space_does_not_count():
    assert score([("a", "  the \t cat ", "the cat")]).cer == 0.0


def test_an_id_that_comes_twice():
    with pytest.raises(ValueError, match="1 utterances have several results, e.g. utt-a"):
        score([("utt-a", "x", "x"), ("utt-a", "y", "y"), ("utt-b", "x", "x")])


def test_files_are_in_the_forms_of_icefall(tmp_path):
    out = tmp_path / "decode"
    scores = write_results(out, "test", {"nar": RESULTS, "ar": PERFECT})
    assert sorted(p.name for p in out.iterdir()) == [
        "errs-test-ar.txt",
        "errs-test-nar.txt",
        "recogs-test-ar.txt",
        "recogs-test-nar.txt",
        "wer-summary-test.txt",
    ]
    assert (out / "wer-summary-test.txt").read_text() == "settings\tWER\nar\t0.00\nnar\t66.67\n"
    assert scores["nar"].wer == pytest.approx(8 / 12) and scores["ar"].wer == 0.0
    recogs = (out / "recogs-test-nar.txt").read_text()
    assert recogs.startswith("utt-a:\tref=['x', 'y']\nutt-a:\thyp=['x', 'y']\nutt-b:\tref=['the', 'cat',")
    assert 'utt-f:\tref=["it\'s", \'"a"\']\n' in recogs
    assert (
        (out / "errs-test-nar.txt").read_text()
        == """\
%WER = 66.67
Errors: 2 insertions, 3 deletions, 3 substitutions, over 12 reference words (6 correct)
Search below for sections starting with PER-UTT DETAILS:, SUBSTITUTIONS:, DELETIONS:, \
INSERTIONS:, PER-WORD STATS:

PER-UTT DETAILS: corr or (ref->hyp)\x20\x20
utt-a:	x y
utt-b:	(the->a) cat sat (on->the) mat (*->x)
utt-c:	(*->oh)
utt-d:	
utt-e:	(q r s->*)
utt-f:	it's ("a"->'a')

SUBSTITUTIONS: count ref -> hyp
1   the -> a
1   on -> the
1   "a" -> 'a'

DELETIONS: count ref
1   s
1   r
1   q

INSERTIONS: count hyp
1   x
1   oh

PER-WORD STATS: word  corr tot_errs count_in_ref count_in_hyp
the   0 2 1 1
x   1 1 1 2
s   0 1 1 0
r   0 1 1 0
q   0 1 1 0
on   0 1 1 0
oh   0 1 0 1
a   0 1 0 1
'a'   0 1 0 1
"a"   0 1 1 0
y   1 0 1 1
sat   1 0 1 1
mat   1 0 1 1
it's   1 0 1 1
cat   1 0 1 1
"""
    )  # noqa: W291


def test_neighbouring_errors_are_shown_together(tmp_path):
    write_results(tmp_path, "s", {"m": [("u", "a b c d e", "a x y d z e")]})
    assert "u:\ta (b c->x y) d (*->z) e\n" in (tmp_path / "errs-s-m.txt").read_text()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.text("ab'\"\\,[]\n\u2028é=:\t", min_size=1, max_size=4), max_size=4), texts),
        min_size=1,
        max_size=5,
    )
)
def test_recogs_can_be_read_back(tmp_path_factory, pairs):
    folder = tmp_path_factory.mktemp("recogs")
    results = [(f"id:{i}", " ".join(" ".join(words).split()), text) for i, (words, text) in enumerate(pairs)]
    write_results(folder, "s", {"m": results})
    path = folder / "recogs-s-m.txt"
    assert read_recogs(path) == results
    path.write_text(path.read_text().replace("\n", "\n\n"))  # as some tools write it
    assert read_recogs(path) == results


@pytest.mark.parametrize(
    "content, message",
    [
        ("\n", "recogs.txt: no results in it"),
        ("hello\n", "recogs.txt:1: not of the form"),
        ("a:\tref=['x']\na:\thyp=[x]\n", r"recogs.txt:2: \[x\] is not a list of words"),
        ("a:\tref=['x']\na:\thyp=[1]\n", r"recogs.txt:2: \[1\] is not a list of words"),
        ("a:\tref=['x']\n", "recogs.txt: a has a ref line only"),
        ("a:\tref=['x']\na:\tref=['x']\n", "recogs.txt:2: a second ref of a"),
    ],
)
def test_files_that_hold_no_results(tmp_path, content, message):
    (tmp_path / "recogs.txt").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_recogs(tmp_path / "recogs.txt")


def test_the_command_prints_rates_and_differences(tmp_path):
    write_results(tmp_path, "test", {"nar": RESULTS, "ar": PERFECT})
    done = subprocess.run(
        [sys.executable, SCRIPT, "recogs-test-nar.txt", "recogs-test-ar.txt"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == 3, done.stderr
    assert lines[0].startswith("recogs-test-nar.txt: WER 66.67 % [")
    assert lines[0].endswith("3 sub, 3 del, 2 ins, 12 words, 6 utterances, 2 of them without a reference")
    assert lines[1].startswith("recogs-test-ar.txt: WER 0.00 % [0.00, 0.00], CER 0.00 %")
    assert lines[2].startswith("recogs-test-ar.txt less recogs-test-nar.txt: WER -66.67 % [")


def test_the_command_refuses_what_it_cannot_use(tmp_path, capsys):
    write_results(tmp_path, "s", {"m": RESULTS, "n": RESULTS[1:]})
    for arguments, message in [
        (["none.txt"], "none.txt"),
        (["recogs-s-m.txt", "recogs-s-n.txt"], "5 and 6 that differ"),
    ]:
        with pytest.raises(SystemExit) as stopped:
            main([str(tmp_path / name) for name in arguments])
        assert stopped.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line


def made_up(rate: float, seed: int, count: int = 400) -> list[tuple[str, str, str]]:
    """Ten words each, wrong with a probability that varies by utterance."""
    rng = np.random.default_rng(seed)
    wrong = [rng.random(10) < rng.beta(2 * rate, 2 * (1 - rate)) for _ in range(count)]
    return [(f"{i:04d}", " ".join("r" * 10), " ".join("h" if w else "r" for w in row)) for i, row in enumerate(wrong)]


def test_interval_has_the_width_of_the_central_limit_theorem():
    scored = score(made_up(0.2, seed=1))
    low, high = scored.wer_interval()
    rates = np.array([u.words.rate for u in scored.utterances])
    half = 1.96 * rates.std() / np.sqrt(len(rates))
    assert low < scored.wer < high
    assert high - low == pytest.approx(2 * half, rel=0.1)
    assert scored.wer_interval() == (low, high)
    narrow_low, narrow_high = scored.wer_interval(level=0.5)
    assert low < narrow_low < narrow_high < high


def test_intervals_hold_the_true_rate_as_often_as_they_say():
    held = 0
    for seed in range(100):
        errors = [u.words.total for u in score(made_up(0.2, seed, count=60)).utterances]
        low, high = significance.interval(errors, [10] * 60, level=0.9, replicates=300)
        held += low <= 0.2 <= high
    assert 80 <= held <= 98


def test_comparison():
    poor, good = score(made_up(0.25, seed=1)), score(made_up(0.15, seed=2))
    clear = poor.compare(good)
    assert clear.difference == pytest.approx(poor.wer - good.wer)
    assert 0 < clear.low < clear.difference < clear.high and clear.p_value < 0.01
    assert good.compare(poor).difference == -clear.difference
    same = poor.compare(poor)
    assert (same.difference, same.low, same.high, same.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_equal_systems_are_seldom_told_apart():
    pairs = [(score(made_up(0.2, seed, 60)), score(made_up(0.2, 1000 + seed, 60))) for seed in range(60)]
    p_values = [a.compare(b).p_value for a, b in pairs]
    assert sum(p < 0.05 for p in p_values) <= 9
    assert 0.3 < np.mean(p_values) < 0.7


def test_comparing_other_utterances_or_none():
    with pytest.raises(ValueError, match="6 and 5 that differ"):
        score(RESULTS).compare(score(RESULTS[1:]))
    with pytest.raises(ValueError, match="every utterance has both"):
        score([]).wer_interval()
    with pytest.raises(ValueError, match="2 error counts, 1 lengths"):
        significance.bootstrap([1, 2], [3])
