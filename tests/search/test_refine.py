import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.result import Round
from hainan_k2.search import METHODS, SearchConfig
from tests.oracles import search as oracle
from tests.oracles.search import Speaker, batches, encoder_output, shape

quick = settings(max_examples=60, deadline=None)


def check(hypothesis, model, encoded, start, rounds):
    tokens, history = oracle.refine(model, encoded, start, rounds)
    assert shape(hypothesis) == tokens
    assert hypothesis.rounds[0].ids == tuple(id for id, _, _ in start)
    assert [(r.ids, r.substitutions, r.deletions) for r in hypothesis.rounds[1:]] == history
    assert all(r.insertions == 0 for r in hypothesis.rounds)


@quick
@given(batches(), st.sampled_from((1, 2, 5)))
def test_sar_equals_the_reference(batch, rounds):
    model, encoded, lens = batch
    hypotheses = METHODS["sar"].function(model, encoded, lens, SearchConfig(sar_rounds=rounds))
    for hypothesis, row, length in zip(hypotheses, encoded, lens):
        check(hypothesis, model, row[:length], oracle.nar_greedy(model, row[:length])[0], rounds)


@settings(max_examples=20, deadline=None)
@given(batches(), st.sampled_from((1, 3)))
def test_sar_viterbi_starts_from_the_best_path(batch, rounds):
    model, encoded, lens = batch
    options = SearchConfig(sar_rounds=rounds, token_bonus=0.3)
    hypotheses = METHODS["sar-viterbi"].function(model, encoded, lens, options)
    for hypothesis, row, length in zip(hypotheses, encoded, lens):
        start, _ = oracle.viterbi(*oracle.nar_tables(model, row[:length]), model.durations, bonus=0.3)
        check(hypothesis, model, row[:length], start, rounds)


def test_refinement_repairs_and_drops_and_stops():
    substitutions = deletions = 0
    for seed in range(6):
        model = Speaker(seed, durations=(1, 2))
        encoded, lens = encoder_output(seed, [20, 11])
        for h in METHODS["sar"].function(model, encoded, lens, SearchConfig(sar_rounds=30)):
            assert len(h.rounds) < 31 and (not h.ids or h.rounds[-1] == Round(h.ids, 0, 0, 0))
            substitutions += sum(r.substitutions for r in h.rounds)
            deletions += sum(r.deletions for r in h.rounds)
    assert substitutions and deletions


def test_score_and_confidence_are_those_of_the_last_round():
    model = Speaker(1, blank_bias=-3.0)
    encoded, lens = encoder_output(4, [16])
    hypothesis = METHODS["sar"].function(model, encoded, lens, SearchConfig(sar_rounds=30))[0]
    scores = []
    for position, token in enumerate(hypothesis.tokens):
        predicted = oracle._predict(model, hypothesis.ids[:position])
        scores.append(oracle._log_probs(model, encoded[0, token.frame], predicted)[0][token.id])
    assert len(scores) > 1
    assert hypothesis.score == pytest.approx(sum(scores), abs=1e-9)
    assert [t.confidence for t in hypothesis.tokens] == pytest.approx(torch.tensor(scores).exp().tolist())
