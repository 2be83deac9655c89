"""n-best searches against the same list, scored and ordered one text at a time."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.search import METHODS, DecodingResources, SearchConfig
from hainan_k2.search import nbest as module
from tests.oracles.loss import brute_force, num_errors
from tests.oracles.search import Speaker, batches, encoder_output
from tests.search.test_methods import bigrams

pytest.importorskip("k2")
PIECES = ("<blk>", "▁a", "b", "▁c", "d", "▁", "e")
LIST = SearchConfig(top_k=3, num_paths=6, nbest=6)


class Lm:
    """What the searches ask of a language model."""

    def __init__(self, log_prob):
        self.log_prob = log_prob

    def to(self, device):
        return self

    def score(self, texts):
        return torch.tensor([self.log_prob(tuple(text)) for text in texts], dtype=torch.float64)


def word_lengths(text):
    """Anything that orders texts unlike the lattice: long ones of small ids first."""
    return -0.7 * sum(text) / (1 + len(text)) + 0.9 * len(text)


RESOURCES = DecodingResources(lm=Lm(word_lengths), pieces=PIECES)


def search(name, batch, options, resources=RESOURCES):
    return METHODS[name].function(*batch, options, resources)


def scores(hypothesis):
    return {h.ids: h.score for h in hypothesis.alternatives}


def assert_ordered(hypothesis, rank_scores):
    """The alternatives are all texts of `rank_scores`, ordered by these scores, the best first."""
    ordered = [rank_scores[h.ids] for h in hypothesis.alternatives]
    assert set(scores(hypothesis)) == set(rank_scores)
    assert ordered == pytest.approx(sorted(ordered, reverse=True), abs=1e-9)
    assert hypothesis.tokens == hypothesis.alternatives[0].tokens


@settings(max_examples=30, deadline=None)
@given(batches(max_frames=10), st.floats(0.0, 2.0))
def test_a_language_model_is_added(batch, scale):
    plain = search("nbest", batch, LIST)
    for before, after in zip(plain, search("nbest-lm", batch, replace(LIST, lm_scale=scale))):
        assert_ordered(before, scores(before))
        expected = {ids: total + scale * word_lengths(ids) for ids, total in scores(before).items()}
        assert scores(after) == pytest.approx(expected, abs=1e-9)
        assert_ordered(after, expected)


def log_prob_of_training(model, encoded, ids):
    """log P(ids | audio) by every path of the training lattice, with the predictor."""
    with torch.no_grad():
        predicted = model.joiner.project_predictor(model.predictor(torch.tensor([ids], dtype=torch.int64)))
        logits = model.joiner.logits(model.joiner.project_encoder(encoded)[:, None], predicted)
    return -brute_force(logits.numpy(), ids, model.durations)[0]


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(((1, 2, 3), (0, 1, 3), (0, 2), (1, 2, 3, 4, 5, 6, 7, 8))),
    st.sampled_from(("lstm", "stateless")),
    st.lists(st.integers(0, 4), min_size=1, max_size=3),
    st.floats(0.0, 1.0),
)
def test_the_predictor_scores_every_text_over_all_alignments(seed, durations, predictor, lens, weight):
    model = Speaker(seed, 4, durations, predictor, blank_bias=0.0)
    batch = (model, *encoder_output(seed, lens))
    plain = search("nbest", batch, LIST)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "AR_BEAM", math.inf)  # all alignments, however unlikely without the predictor
        ordered = search("nbest-ar", batch, replace(LIST, ar_weight=weight))
    for b, hypothesis in enumerate(ordered):
        expected = {}
        for ids, total in scores(plain[b]).items():
            ar = log_prob_of_training(model, batch[1][b, : lens[b]], ids) if lens[b] else 0.0
            expected[ids] = total if weight == 0 else weight * ar + (0.0 if weight == 1 else (1 - weight) * total)
        if max(expected.values()) == -math.inf:
            assert "ordered by the lattice" in hypothesis.note and scores(hypothesis) == scores(plain[b])
            continue
        assert not hypothesis.note
        assert scores(hypothesis) == pytest.approx(expected, abs=1e-5)
        assert_ordered(hypothesis, scores(hypothesis))


@settings(max_examples=30, deadline=None)
@given(batches(max_frames=10), st.sampled_from((0.3, 1.0, 3.0)), st.booleans())
def test_mbr_expects_the_fewest_word_errors(batch, scale, words):
    model = batch[0]
    pieces = PIECES[: model.vocab_size] if words else None
    plain = search("nbest", batch, LIST)
    resources = DecodingResources(pieces=pieces)
    for before, after in zip(plain, search("mbr", batch, replace(LIST, nbest_scale=scale), resources)):
        totals = scores(before)
        assert scores(after) == pytest.approx(totals, abs=1e-9)
        words_by_ids = {h.ids: h.with_words(pieces).text.split() if words else h.ids for h in before.alternatives}
        top = max(totals.values())
        weights = {ids: math.exp(scale * (total - top)) for ids, total in totals.items()}
        risk = {
            a: sum(w * num_errors(words_by_ids[a], words_by_ids[b]) for b, w in weights.items()) / sum(weights.values())
            for a in totals
        }
        assert_ordered(after, {ids: -r for ids, r in risk.items()})


def test_mbr_prefers_the_text_in_the_middle():
    """The likeliest text shares nothing with the others, which agree on almost everything."""
    owner, probabilities = torch.zeros(3, dtype=torch.int64), torch.tensor([0.4, 0.3, 0.3])
    risk = module.expected_errors(owner, probabilities.log(), [list("xyz"), list("abc"), list("abd")])
    assert risk.tolist() == pytest.approx([1.8, 1.5, 1.5])
    apart = module.expected_errors(torch.tensor([0, 1, 1]), probabilities.log(), [["x"], ["a"], ["b"]])
    assert apart.tolist() == pytest.approx([0.0, 0.5, 0.5])


def test_an_utterance_that_the_language_model_cannot_say_is_ordered_by_the_lattice():
    batch = (Speaker(3), *encoder_output(3, [9, 9]))
    plain = search("nbest", batch, LIST)
    first = set(scores(plain[0])) - set(scores(plain[1]))
    assert first and set(scores(plain[1])) - set(scores(plain[0]))
    only_second = DecodingResources(lm=Lm(lambda ids: 0.0 if ids in scores(plain[1]) else -math.inf))
    forbids_all = DecodingResources(lm=Lm(lambda ids: -math.inf))
    assert [h.note for h in search("nbest-lm", batch, LIST, only_second)][1] == ""
    for before, after in zip(plain, search("nbest-lm", batch, LIST, forbids_all)):
        assert "ordered by the lattice" in after.note
        assert replace(after, note="", alternatives=()) == replace(before, alternatives=())


@settings(max_examples=20, deadline=None)
@given(batches(max_frames=10))
def test_what_has_no_weight_changes_nothing(batch):
    plain = search("nbest", batch, LIST)
    for name, options in (("nbest-lm", replace(LIST, lm_scale=0.0)), ("nbest-ar", replace(LIST, ar_weight=0.0))):
        assert search(name, batch, options) == plain


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.sweeps])
def test_a_point_of_a_sweep_is_a_search_of_its_own(name):
    batch = (Speaker(7, blank_bias=0.0), *encoder_output(7, [14, 0, 6]))
    values = ((0.2, 0.1, 6), (1.5, 0.9, 1), (0.2, 0.5, 6))
    swept = {option: [scale + 0.1 for scale, _, _ in values] for option in METHODS[name].sweeps}
    swept.update(ar_weight=[weight for _, weight, _ in values], nbest=[nbest for _, _, nbest in values])
    points = [replace(LIST, **{option: column[i] for option, column in swept.items()}) for i in range(len(values))]
    resources = replace(RESOURCES, lm=bigrams(5)) if name == "rescore" else RESOURCES
    together = METHODS[name].function.sweep(*batch, points, resources)
    assert together == [search(name, batch, point, resources) for point in points]


def test_a_sweep_makes_its_list_once(monkeypatch):
    batch, made = (Speaker(7), *encoder_output(7, [14, 6])), []
    original = module.best_texts
    monkeypatch.setattr(module, "best_texts", lambda *arguments: made.append(1) or original(*arguments))
    METHODS["nbest-lm"].function.sweep(*batch, [replace(LIST, lm_scale=x) for x in (0.1, 0.2, 0.3)], RESOURCES)
    assert len(made) == 1
    with pytest.raises(ValueError, match="differ in more than lm_scale, ar_weight, nbest_scale, nbest"):
        METHODS["nbest-lm"].function.sweep(*batch, [LIST, replace(LIST, blank_penalty=1.0)], RESOURCES)


def test_the_oracle_gets_the_whole_list():
    batch = (Speaker(2), *encoder_output(2, [14, 6]))
    for plain, whole in zip(search("nbest", batch, LIST), search("nbest-oracle", batch, replace(LIST, nbest=1))):
        assert whole == plain and len(whole.alternatives) == 6


def test_alternatives_are_given_where_asked_for():
    batch = (Speaker(2), *encoder_output(2, [14, 0]))
    assert [h.alternatives for h in search("nbest", batch, replace(LIST, nbest=1))] == [(), ()]
    assert [len(h.alternatives) for h in search("nbest", batch, replace(LIST, nbest=3))] == [3, 1]


def test_a_model_that_gives_no_numbers_is_an_error():
    encoded, lens = encoder_output(2, [5, 5])
    encoded[1] = torch.nan
    with pytest.raises(ValueError, match="utterance 1 of the batch has no path of finite score"):
        search("nbest", (Speaker(2), encoded, lens), LIST)


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match="ar_weight is 1.5"):
        SearchConfig(ar_weight=1.5)
    with pytest.raises(ValueError, match="num_paths is 0"):
        SearchConfig(num_paths=0)


@settings(max_examples=15, deadline=None)
@given(batches(max_frames=8), st.integers(0, 2))
def test_the_list_of_the_ar_lattice_has_the_totals_of_the_beam_search(batch, context):
    options = replace(LIST, lattice="ar", beam=4, context_tokens=context, num_paths=6)
    beam = METHODS["ar-beam"].function(*batch, options)
    for found, listed in zip(beam, search("nbest", batch, options, DecodingResources())):
        assert_ordered(listed, scores(listed))
        totals = scores(listed)
        for ids, score in scores(found).items():
            assert ids not in totals or totals[ids] >= score - 1e-4
        assert listed.score >= found.score - 1e-4 or len(totals) == 6
        assert all(0.0 <= token.confidence <= 1.0 for token in listed.tokens)


@pytest.mark.parametrize("name", ["nbest", "nbest-lm", "mbr", "nbest-ar"])
def test_lists_of_the_ar_lattice_do_not_depend_on_the_batch(name):
    model = Speaker(4, 5, (0, 1, 2, 4), blank_bias=0.0)
    encoded, lens = encoder_output(4, [14, 3, 0, 9])
    options = replace(LIST, lattice="ar", beam=6)
    together = search(name, (model, encoded, lens), options)
    for b, length in enumerate(lens.tolist()):
        (alone,) = search(name, (model, encoded[b : b + 1, :length], lens[b : b + 1]), options)
        assert alone.ids == together[b].ids
        assert scores(alone) == pytest.approx(scores(together[b]), abs=1e-4)
