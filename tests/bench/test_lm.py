"""bench.py lm: measurements on simulated speech."""

import json

import pytest

from hainan_k2.bench import lm as bench_lm
from hainan_k2.bench.lm import LmBenchConfig, main, make_step, speech, train

pytest.importorskip("k2")
TINY = {"sentences": 50, "vocab": 20, "frames": 12}


@pytest.fixture
def arpa(tmp_path):
    pytest.importorskip("kaldingram")
    return train(LmBenchConfig(**TINY), tmp_path)


def test_time_and_memory_are_measured(arpa, tmp_path, capsys):
    out = tmp_path / "figures.json"
    flags = [f"--{name}={value}" for name, value in TINY.items()]
    main([*flags, "--arpa", arpa, "--batch", "3", "--repeats", "1", "--device", "cpu", "--out", str(out)])
    report = json.loads(out.read_text())
    assert [row["batch"] for row in report["rows"]] == [3]
    assert all(row["seconds"] > 0 and row["bytes"] >= 0 for row in report["rows"])
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_most_tokens_are_recognised(arpa):
    config = LmBenchConfig(**{**TINY, "frames": 40})
    hypotheses = make_step(arpa, config, 2, 40, "cpu")()
    tokens = [row.argmax(-1).tolist() for row in speech(config, 2, 40)[0]]
    for hypothesis, best in zip(hypotheses, tokens):
        hits = [best[token.frame] == token.id for token in hypothesis.tokens]
        assert len(hits) > 5 and sum(hits) > 0.7 * len(hits)


def test_speech_is_reproducible():
    a, b = (speech(LmBenchConfig(**TINY), 2, 12) for _ in range(2))
    assert all(x.equal(y) for x, y in zip(a, b))


def test_a_missing_trainer_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(bench_lm.sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ValueError, match="pip install kaldingram, or give --arpa"):
        train(LmBenchConfig(**TINY), tmp_path)
