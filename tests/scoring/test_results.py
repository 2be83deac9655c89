"""icefall's result files: written in its format, and read back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.scoring.results import read_recogs, write_results
from tests.scoring.test_wer import texts

RESULTS = [
    ("utt-b", "the cat sat on mat", "a cat sat the mat x"),
    ("utt-a", "x y", "x y"),
    ("utt-c", "", "oh"),
    ("utt-d", "", ""),
    ("utt-e", "q r s", ""),
    ("utt-f", 'it\'s "a"', "it's 'a'"),
]
PERFECT = [(name, reference, reference) for name, reference, _ in RESULTS]


def test_files_have_the_formats_of_icefall(tmp_path):
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
utt-d:\t
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
    )


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
def test_other_files_are_refused_with_the_line(tmp_path, content, message):
    (tmp_path / "recogs.txt").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_recogs(tmp_path / "recogs.txt")
