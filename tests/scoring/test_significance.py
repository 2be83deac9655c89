"""Confidence intervals and comparisons of error rates, on simulated systems."""

import numpy as np
import pytest

from hainan_k2.scoring import significance
from hainan_k2.scoring.wer import score
from tests.scoring.test_results import RESULTS


def simulated(rate: float, seed: int, count: int = 400) -> list[tuple[str, str, str]]:
    """Ten words each, wrong with a probability that varies by utterance."""
    rng = np.random.default_rng(seed)
    wrong = [rng.random(10) < rng.beta(2 * rate, 2 * (1 - rate)) for _ in range(count)]
    return [(f"{i:04d}", " ".join("r" * 10), " ".join("h" if w else "r" for w in row)) for i, row in enumerate(wrong)]


def test_interval_has_the_width_of_the_central_limit_theorem():
    scored = score(simulated(0.2, seed=1))
    low, high = scored.wer_interval()
    rates = np.array([u.words.rate for u in scored.utterances])
    half = 1.96 * rates.std() / np.sqrt(len(rates))
    assert low < scored.wer < high
    assert high - low == pytest.approx(2 * half, rel=0.1)
    assert scored.wer_interval() == (low, high)
    narrow_low, narrow_high = scored.wer_interval(level=0.5)
    assert low < narrow_low < narrow_high < high


def test_intervals_contain_the_true_rate_at_their_level():
    count = 0
    for seed in range(100):
        errors = [u.words.total for u in score(simulated(0.2, seed, count=60)).utterances]
        low, high = significance.interval(errors, [10] * 60, level=0.9, replicates=300)
        count += low <= 0.2 <= high
    assert 80 <= count <= 98


def test_comparison():
    poor, good = score(simulated(0.25, seed=1)), score(simulated(0.15, seed=2))
    clear = poor.compare(good)
    assert clear.difference == pytest.approx(poor.wer - good.wer)
    assert 0 < clear.low < clear.difference < clear.high and clear.p_value < 0.01
    assert good.compare(poor).difference == -clear.difference
    same = poor.compare(poor)
    assert (same.difference, same.low, same.high, same.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_equal_systems_seldom_differ_significantly():
    pairs = [(score(simulated(0.2, seed, 60)), score(simulated(0.2, 1000 + seed, 60))) for seed in range(60)]
    p_values = [a.compare(b).p_value for a, b in pairs]
    assert sum(p < 0.05 for p in p_values) <= 9
    assert 0.3 < np.mean(p_values) < 0.7


def test_comparisons_need_the_same_utterances():
    with pytest.raises(ValueError, match="6 and 5 that differ"):
        score(RESULTS).compare(score(RESULTS[1:]))
    with pytest.raises(ValueError, match="every utterance has both"):
        score([]).wer_interval()
    with pytest.raises(ValueError, match="2 error counts, 1 lengths"):
        significance.bootstrap([1, 2], [3])


def test_trainings_and_utterances_are_drawn_together():
    """The variance is that of both, and one training gives what it gave alone."""
    rng = np.random.default_rng(5)
    seeds, utterances = 40, 300
    errors = rng.binomial(10, np.clip(0.2 + 0.05 * rng.standard_normal((seeds, 1)), 0, 1), (seeds, utterances))
    rates = significance.bootstrap(errors, [10] * utterances, replicates=2000)
    assert rates.mean() == pytest.approx(errors.mean() / 10, abs=0.003)
    expected = errors.mean(1).var() / seeds + errors.mean(0).var() / utterances
    assert rates.var() == pytest.approx(expected / 100, rel=0.15)
    alone = significance.bootstrap(errors[0], [10] * utterances)
    assert np.array_equal(significance.bootstrap(errors[:1], [10] * utterances), alone)
    assert np.array_equal(significance.bootstrap(errors[0].tolist(), [10] * utterances), alone)


def test_trainings_are_compared_seed_by_seed():
    """What a seed does to both systems cancels out."""
    rng = np.random.default_rng(6)
    luck = rng.integers(0, 4, (3, 1))
    first = rng.binomial(10, 0.2, (3, 200)) + luck
    second = first + rng.binomial(1, 0.1, (3, 200))
    found = significance.compare(first, second, [10] * 200)
    assert found.difference == pytest.approx((second - first).mean() / 10)
    assert 0 < found.low < found.difference < found.high < 0.02 and found.p_value < 0.01
    assert found.high - found.low < 0.3 * np.subtract(*significance.interval(first, [10] * 200)[::-1])
    with pytest.raises(ValueError, match=r"\(3, 200\) and \(2, 200\) error counts"):
        significance.compare(first, second[:2], [10] * 200)
