"""bench.py decode: every method is measured, and what it reports follows from its measurements."""

import json

import pytest
import torch

from hainan_k2.bench.decode import main, measure, noise, random_model
from hainan_k2.bench.decode_report import Timing, mean_interval, table
from hainan_k2.search import METHODS, SearchConfig

SMALL = ["--preset", "tiny", "--vocab-size", "20", "--seconds", "2", "--repeats", "2", "--device", "cpu"]


def test_every_method_and_batch_size_is_measured(tmp_path, capsys):
    methods = [
        name
        for name, method in METHODS.items()
        if not method.needs_k2 and not method.needs and "ctc" not in method.parts
    ]
    summary = tmp_path / "summary-test.json"
    summary.write_text(json.dumps({"methods": {"ar-greedy": {"wer": 0.05}, "nar-greedy": {"wer": 0.07}}}))
    main(
        [
            *SMALL,
            "--batch-sizes",
            "1,3",
            "--method",
            ",".join(methods),
            "--wer",
            str(summary),
            "--out-dir",
            str(tmp_path),
        ]
    )
    timings = json.loads((tmp_path / "bench-decode.json").read_text())["timings"]
    assert [(x["batch_size"], x["method"]) for x in timings] == [(b, m) for b in (1, 3) for m in methods]
    assert all(x["search_seconds"] > 0 and x["encoder_seconds"] > 0 for x in timings)
    assert timings[0]["audio_seconds"] == pytest.approx(2.0)
    assert (tmp_path / "bench-decode.png").stat().st_size > 1000
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("random model on CPU") and len(lines) == 2 + len(timings)


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--method", "magic"], "no method 'magic'; there are ar-greedy"),
        (["--batch-sizes", "0"], "it must be at least 1"),
        (["--batch-sizes="], "--batch-sizes has no value"),
        (["--exp-dir", "nowhere"], "no checkpoint epoch-N.safetensors in nowhere"),
        (["--wer", "setup.cfg"], "setup.cfg is not a summary"),
    ],
)
def test_errors_are_one_line(flags, message, capsys, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        main([*SMALL, "--out-dir", str(tmp_path), *flags])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_the_random_model_emits_tokens():
    model = random_model("tiny", 20)
    audio = noise(4.0, model, 4)
    assert [len(row) for row in audio] == [400, 346, 293, 240]
    timing = measure(model, audio, ["nar-greedy"], [4], 1, SearchConfig())[0]
    assert 0.5 < timing.tokens_per_second < 8.0
    assert timing.audio_seconds == pytest.approx(12.79)


def test_derived_figures_and_intervals():
    timing = Timing("sar", 8, 60.0, 2.0, 0.1, 0.5, 0.1, 3.0, None)
    assert (timing.share, timing.latency, timing.throughput) == (0.25, 2.5, 24.0)
    assert table([timing]).splitlines()[1].endswith(" -")
    assert mean_interval([2.0]) == (2.0, 0.0)
    centre, half = mean_interval([1.0, 2.0, 3.0])
    assert (centre, half) == (2.0, pytest.approx(4.3027 / 3**0.5, rel=1e-4))


def test_random_models_are_the_same_every_time():
    a, b = (random_model("tiny", 20).state_dict() for _ in range(2))
    assert all(torch.equal(a[name], b[name]) for name in a)
