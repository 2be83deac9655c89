"""JSON lines: written whole or appended, and read, with a last line that was cut off."""

import gzip
import os

import pytest

from hainan_k2.files.jsonl import append_line, read_lines, write_lines

LINES = [{"id": "größer", "n": 1.5}, {}, {"list": [None, True]}]


def test_lines_are_read_as_they_were_written(tmp_path):
    write_lines(tmp_path / "a.jsonl", LINES)
    assert read_lines(tmp_path / "a.jsonl") == LINES
    assert (tmp_path / "a.jsonl").read_bytes().startswith('{"id": "größer", "n": 1.5}\n'.encode())
    write_lines(tmp_path / "b.jsonl.gz", LINES)
    assert gzip.decompress((tmp_path / "b.jsonl.gz").read_bytes()) == (tmp_path / "a.jsonl").read_bytes()


def test_the_same_lines_give_the_same_bytes_under_any_name(tmp_path, monkeypatch):
    write_lines(tmp_path / "a.jsonl.gz", LINES)
    monkeypatch.setattr("time.time", lambda: 1.0e9)
    write_lines(str(tmp_path / "b.jsonl.gz"), iter(LINES))
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_failure_leaves_the_old_file(tmp_path, name):
    write_lines(tmp_path / name, LINES)
    before = (tmp_path / name).read_bytes()
    with pytest.raises(TypeError):
        write_lines(tmp_path / name, [{"x": 1}, {"x": object()}])
    assert (tmp_path / name).read_bytes() == before and os.listdir(tmp_path) == [name]


def test_appended_lines_are_there_at_once_and_a_cut_one_is_left_out(tmp_path):
    assert read_lines(tmp_path / "log.jsonl") == []
    with open(tmp_path / "log.jsonl", "a", encoding="utf-8") as stream:
        for count, line in enumerate(LINES, 1):
            append_line(stream, line)
            assert read_lines(tmp_path / "log.jsonl") == LINES[:count]
        stream.write('{"cut": ')
    assert read_lines(tmp_path / "log.jsonl") == LINES
