"""bench.py speculative: both searches are run, compared and timed."""

from dataclasses import replace

import pytest
import torch

from hainan_k2 import bench
from hainan_k2.bench.speculative import tokens
from hainan_k2.result import Hypothesis, Token
from tests.toy import ROOT

JFK = str(ROOT / "tests" / "data" / "jfk.flac")


def test_the_searches_are_compared(capsys):
    threads = torch.get_num_threads()
    try:
        bench.main(["speculative", JFK, "--batch-sizes", "1,2", "--repeats", "1"])
    finally:
        torch.set_num_threads(threads)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("1 recordings, 1 threads, torch ") and [line.split()[0] for line in lines[2:]] == [
        "1",
        "2",
    ]
    for line in lines[2:]:
        looping, speculative, ratio = map(float, line.split()[1:4])
        assert min(looping, speculative, ratio) > 0 and line.endswith("1 of 1")


@pytest.mark.parametrize("name", ["id", "frame", "duration"])
def test_results_that_differ_are_not_equal(name):
    one = Hypothesis((Token(3, 1, 1, 0.5), Token(4, 2, 1, 0.5)), -1.0, 9)
    other = replace(one, tokens=(one.tokens[0], replace(one.tokens[1], **{name: 7})))
    assert tokens(one) == ([3, 4], [1, 2], [1, 1]) and tokens(replace(one, tokens=())) == ([], [], [])
    assert tokens(one) == tokens(replace(one, score=-2.0)) and tokens(one) != tokens(other)


def test_nemo_finds_the_same(capsys):
    pytest.importorskip("nemo.collections.asr")
    bench.main(["speculative", JFK, "--batch-sizes", "1", "--repeats", "1", "--nemo"])
    assert capsys.readouterr().out.splitlines()[-1].endswith("1 of 1")


def test_errors_are_one_line(capsys, tmp_path):
    for arguments, message in (([], "name audio files"), ([str(tmp_path / "none.wav")], "none.wav")):
        with pytest.raises(SystemExit) as stopped:
            bench.main(["speculative", *arguments])
        error = capsys.readouterr().err
        assert stopped.value.code == 2 and error.count("\n") == 1 and message in error
