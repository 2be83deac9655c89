"""The simulation of training on many processes, on cases whose result is known."""

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.bench.plan import PlanConfig, data_table, duration, main, simulate, speed_table
from hainan_k2.bench.rates import Rates, between_processes

# A machine without losses: everything but computing takes no time.
IDEAL = Rates("CPU", "S", 10**7, 10.0, 0.0, 100.0, 200.0, 1e12, 1e15, 1e5, 16000.0, 12.0, 1e18, 0.0, 1e18, 10**8)
NO_FAILURES = {"days_between_failures": 1e12}


def plan(**options):
    return PlanConfig(**{**NO_FAILURES, "reading": 1e18, **options})


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 600), st.integers(1, 4), st.floats(1, 500), st.floats(0.5, 100))
def test_without_losses_speed_grows_with_the_number_of_processes(ranks, accumulate, audio, factor):
    result = simulate(IDEAL, plan(accumulate=accumulate, max_duration=audio, device_factor=factor), ranks)
    assert result.speed == pytest.approx(10.0 * factor * ranks)
    assert result.shares["computing"] == pytest.approx(1.0) and sum(result.shares.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "change, options, ranks, speed, limit",
    [
        ({"load": 4.0}, {"num_workers": 2}, 3, 3 * 8.0, "loading"),
        # Sums take 2 * 7/8 * 4e7 / 1e6 = 70 s, of which 2/3 of 20 s are hidden.
        ({"all_reduce": 1e6}, {}, 8, 8 * 200 / (20 + 70 - 40 / 3), "all-reduce"),
        ({"all_reduce": 1e6}, {"accumulate": 4}, 8, 8 * 800 / (80 + 70 - 40 / 3), "all-reduce"),
        ({"all_reduce": 1e6}, {"link": 1e12}, 8, 80.0, None),
        # 8 processes pass 8 * 200 s of 12 s each, 10 a second.
        ({"cuts": 10.0}, {}, 8, 8 * 200 / (20 + 8 * 200 / 120), "sampling"),
        ({}, {"reading": 1.6e6}, 8, 8 * 200 / (20 + 8 * 200 * 16000 / 1.6e6), "sampling"),
        ({}, {"reading": 1.6e6, "shar": False}, 8, 80.0, None),
        ({"agreement": 0.5}, {"accumulate": 3}, 8, 8 * 600 / (60 + 4 * 7 * 0.5), "agreement"),
        # A checkpoint of 1e8 + 8e7 bytes takes 18 s, every 10 updates of 20 s.
        ({"disk": 1e7}, {"save_every": 10}, 1, 200 / (20 + 1.8), "checkpoints"),
    ],
)
def test_every_loss_alone(change, options, ranks, speed, limit):
    result = simulate(dataclasses.replace(IDEAL, **change), plan(**options), ranks)
    assert result.speed == pytest.approx(speed, rel=0.01)
    if limit is None:
        assert result.shares["computing"] == pytest.approx(1.0)
    else:
        assert result.limit == limit


def test_the_slowest_of_many_processes_costs_more_than_that_of_few():
    uneven = dataclasses.replace(IDEAL, spread=0.2)
    shares = [simulate(uneven, plan(), ranks).shares["slowest rank"] for ranks in (1, 2, 16, 256)]
    assert shares == sorted(shares) and shares[0] == 0 and 0.1 < shares[-1] < 0.6


def test_failures_cost_the_updates_since_the_last_checkpoint_and_a_restart():
    """One failure a day of one machine, 100 updates of 20 s between checkpoints, 1000 s to restart."""
    result = simulate(IDEAL, plan(days_between_failures=1.0, save_every=100, restart=1000.0), 1)
    assert result.shares["failures"] == pytest.approx((1000 + 1000) / 86400, rel=0.05)


def test_the_command_prints_a_line_per_number_of_processes_and_of_hours(tmp_path, capsys):
    (tmp_path / "rates.jsonl").write_text(json.dumps(dataclasses.asdict(IDEAL)) + "\n")
    main(["--rates", str(tmp_path / "rates.jsonl"), "--ranks", "1,8", "--hours", "100", "--epochs", "10"])
    shown = capsys.readouterr().out
    results = [simulate(IDEAL, PlanConfig(), ranks) for ranks in (1, 8)]
    assert all(line in shown for line in speed_table(results))
    (line,) = data_table(IDEAL, PlanConfig(hours=(100.0,), epochs=10.0), results)[1:]
    assert line in shown and "3e+04" in line and "6 GB" in line


def test_rates_that_are_missing_are_named(tmp_path, capsys):
    for content, message in (("", "no rates"), ('{"preset": "S"}\n', "required: --machine")):
        (tmp_path / "rates.jsonl").write_text(content)
        with pytest.raises(SystemExit) as stopped:
            main(["--rates", str(tmp_path / "rates.jsonl")])
        assert stopped.value.code == 2 and message in capsys.readouterr().err


def test_durations_have_the_largest_unit():
    assert [duration(s) for s in (5, 90, 5400, 2 * 86400, 400 * 86400)] == [
        "5.0 s",
        "1.5 min",
        "1.5 h",
        "2.0 d",
        "1.1 y",
    ]


def test_two_processes_sum_and_agree():
    assert min(between_processes(4000, repeats=1)) > 0
