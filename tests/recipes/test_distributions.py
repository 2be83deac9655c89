"""The figures of distributions.py: the steps are those of ar-greedy, the rounds those of speculative decoding."""

import math
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.search import DURATION_SETS, Speaker, encoder_output
from tests.recipes.shell import SHARED

sys.path.insert(0, str(SHARED))

from distributions import TOP, Sums, describe, walk

from hainan_k2.search import METHODS, SearchConfig, speculative
from hainan_k2.search.emissions import Frames


def speakers(seed, durations, predictor):
    objective = "tdt" if durations != (0,) else "rnnt"
    return Speaker(seed, 5, durations, predictor, blank_bias=0.5, objective=objective)


@given(
    seed=st.integers(0, 10**6),
    length=st.integers(1, 14),
    durations=st.sampled_from((*DURATION_SETS, (0,))),
    predictor=st.sampled_from(("lstm", "stateless")),
)
@settings(max_examples=40, deadline=None)
def test_steps_and_rounds(seed, length, durations, predictor):
    model = speakers(seed, durations, predictor)
    encoded, lens = encoder_output(seed, [length])
    (ar,) = METHODS["ar-greedy"].function(model, encoded, lens, SearchConfig())
    sums = Sums()
    describe(model, encoded[0], sums)
    assert sums.of["tokens"] == len(ar.tokens)
    assert sums.of["zero_ar"] == sum(token.duration == 0 for token in ar.tokens)
    frames = Frames.pack(encoded, lens).map(model.joiner.project_encoder)
    drafts = []
    original = speculative.Draft.steps
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speculative, "MIN_ACCEPTED", 0.0)
        patch.setattr(speculative.Draft, "steps", lambda *args: drafts.append(1) or original(*args))
        with torch.no_grad():
            records, _ = speculative.speculate(model, frames, SearchConfig().max_symbols)
    assert (sums.of["steps"], sums.of["rounds"]) == (sum(len(column[0]) for column in records), len(drafts))


def test_figures_of_an_unmasked_predictor_that_says_nothing():
    """Where W_pred is zero, AR and NAR are the same distribution."""
    model = speakers(5, (0, 1, 2), "lstm")
    with torch.no_grad():
        model.joiner.pred.weight.zero_(), model.joiner.pred.bias.zero_()
        model.joiner.out.bias[model.vocab_size] -= 1000.0  # never duration 0
    encoded, _ = encoder_output(2, [40])
    sums = Sums()
    describe(model, encoded[0], sums)
    figures = sums.figures()
    assert sums.of["tokens"] > 3
    assert figures["top1"] == figures["same_step"] == 1 and figures["distance"] == 0
    assert figures["entropy_ar"] == pytest.approx(figures["entropy_nar"]) and 0 < figures["entropy_nar"] < math.log(5)
    assert figures["zero_ar"] == figures["zero_nar"] == 0 and figures["p_zero"] < 1e-6
    assert figures["accepted"] > 1


def test_shares_rise_with_k():
    sums = Sums()
    for seed in range(10):
        describe(speakers(seed, tuple(range(9)), "lstm"), encoder_output(seed, [30])[0][0], sums)
    shares = [sums.figures()[f"top{k}"] for k in TOP]
    assert shares == sorted(shares) and shares[0] < 1 and shares[2] == 1  # of five tokens


def test_a_walk_by_hand():
    """Three frames; after a label the model prefers a blank of 2 frames."""
    tokens, durations = torch.zeros(3, 2, 3), torch.zeros(3, 2, 2)
    tokens[0, 0, 1] = durations[0, 0, 0] = 1.0  # label 1, duration 0
    tokens[:, 1, 0] = durations[:, 1, 1] = 1.0  # then blanks of 2 frames
    found = [(s.frame, s.labels, s.token, s.duration, s.moved) for s in walk(tokens, durations, (0, 2))]
    assert found == [(0, 0, 1, 0, 0), (0, 1, 0, 2, 2), (2, 1, 0, 2, 2)]
