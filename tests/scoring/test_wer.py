"""Error counts and rates, against the definition and against other tools."""

import jiwer
import kaldialign
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.scoring.wer import score

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


def test_rates_of_empty_references():
    assert (score([]).wer, score([("a", "", "")]).wer) == (0.0, 0.0)
    assert score([("a", "", "oh")]).wer == float("inf")


def test_white_space_does_not_count():
    assert score([("a", "  the \t cat ", "the cat")]).cer == 0.0


def test_an_id_that_occurs_twice_is_refused():
    with pytest.raises(ValueError, match="1 utterances have several results, e.g. utt-a"):
        score([("utt-a", "x", "x"), ("utt-a", "y", "y"), ("utt-b", "x", "x")])
