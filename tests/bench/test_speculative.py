"""bench.py speculative: both searches are run, compared and timed."""

import pytest
import torch

from hainan_k2 import bench
from hainan_k2.bench.speculative import same
from hainan_k2.search.emissions import Emissions
from tests.toy import ROOT

JFK = str(ROOT / "tests" / "data" / "jfk.flac")


def test_the_searches_are_compared(capsys):
    threads = torch.get_num_threads()
    try:
        bench.main(["speculative", JFK, "--batch-sizes", "1,2", "--repeats", "1"])
    finally:
        torch.set_num_threads(threads)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1 recordings, 1 threads" and [line.split()[0] for line in lines[2:]] == ["1", "2"]
    for line in lines[2:]:
        looping, speculative, ratio = map(float, line.split()[1:4])
        assert min(looping, speculative, ratio) > 0 and line.endswith("1 of 1 batches")


@pytest.mark.parametrize("name", ["token", "frame", "duration"])
def test_results_that_differ_are_not_equal(name):
    rows = {"utterance": [0, 0], "token": [3, 4], "frame": [1, 2], "duration": [1, 1]}
    others = (torch.ones(2), torch.zeros(1))
    one = Emissions(*map(torch.tensor, rows.values()), *others)
    assert same(one, Emissions(*map(torch.tensor, rows.values()), *others))
    assert not same(one, Emissions(*map(torch.tensor, {**rows, name: [7, 7]}.values()), *others))


def test_errors_are_one_line(capsys, tmp_path):
    for arguments, message in (([], "name audio files"), ([str(tmp_path / "none.wav")], "none.wav")):
        with pytest.raises(SystemExit) as stopped:
            bench.main(["speculative", *arguments])
        error = capsys.readouterr().err
        assert stopped.value.code == 2 and error.count("\n") == 1 and message in error
