"""Every format that results are written in."""

import json
import math
import re
from dataclasses import replace

import pytest

from hainan_k2.result import Hypothesis, Word
from hainan_k2.writers import WRITERS, json_lines
from tests.test_result import HELLO, PIECES, hypothesis_of


def write(kind, *results):
    return "\n".join(WRITERS[kind](results)) + "\n"


def test_text():
    assert write("txt", ("u1", HELLO.with_words(PIECES)), ("u2", hypothesis_of())) == "u1 hello world\nu2\n"


def test_ctm():
    assert write("ctm", ("u1", HELLO.with_words(PIECES)), ("u2", hypothesis_of())) == (
        "u1 1 0.160 0.240 hello 0.600\nu1 1 0.560 0.240 world 0.750\n"
    )


def test_json_lines():
    line, empty = WRITERS["jsonl"]([("u1", HELLO.with_words(PIECES)), ("u2", hypothesis_of())])
    value = json.loads(line)
    assert value["id"] == "u1" and value["text"] == "hello world" and value["score"] == -1.5
    assert value["words"][1] == {"text": "world", "start": 0.56, "end": 0.8, "confidence": 0.75}
    assert value["tokens"][0] == {"id": 1, "frame": 2, "duration": 2, "confidence": 0.9}
    assert json.loads(empty)["tokens"] == []


def at(*words):
    return Hypothesis((), 0.0, 0, words=tuple(Word(*word, 1.0) for word in words))


def test_srt():
    hypothesis = at(("one", 0.0, 0.4), ("two", 0.5, 1.0), ("three", 2.5, 3.0), ("four", 3661.5, 3662.04))
    assert write("srt", ("u", hypothesis)) == (
        "1\n00:00:00,000 --> 00:00:01,000\none two\n\n"
        "2\n00:00:02,500 --> 00:00:03,000\nthree\n\n"
        "3\n01:01:01,500 --> 01:01:02,040\nfour\n\n"
    )


def test_vtt():
    assert write("vtt", ("u", at(("a&b", 0.0, 0.4), ("<c>", 0.4, 1.0)))) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\na&amp;b &lt;c&gt;\n\n"
    )


def intervals(hypothesis):
    """(xmin, xmax, text) of the intervals of a TextGrid."""
    text = write("TextGrid", ("u", hypothesis))
    found = re.findall(r'xmin = ([\d.]+)\n +xmax = ([\d.]+)\n +text = "(.*)"', text)
    assert f"intervals: size = {len(found)}\n" in text
    assert all(float(a[1]) == float(b[0]) for a, b in zip(found, found[1:])) and float(found[0][0]) == 0
    assert text.count(f"xmax = {found[-1][1]}\n") == 3  # of the file, of the tier, of the last interval
    return [(float(start), float(end), word) for start, end, word in found]


def test_textgrid():
    words = Word("one", 0.16, 0.4, 1.0), Word('"two"', 0.4, 0.8, 1.0), Word("three", 1.2, 1.6, 1.0)
    expected = [
        (0.0, 0.16, ""),
        (0.16, 0.4, "one"),
        (0.4, 0.8, '""two""'),
        (0.8, 1.2, ""),
        (1.2, 1.6, "three"),
        (1.6, 2.0, ""),
    ]
    assert intervals(Hypothesis((), 0.0, 25, words=words)) == expected
    assert intervals(Hypothesis((), 0.0, 25)) == [(0.0, 2.0, "")]
    with pytest.raises(ValueError, match="of one recording, not of 2"):
        write("TextGrid", ("u", HELLO), ("v", HELLO))


def test_words_of_zero_length_share_an_interval_of_a_textgrid():
    words = [("a", 0.4, 0.4), ("b", 0.4, 0.8), ("c", 1.6, 1.6)]
    hypothesis = replace(at(*words), num_frames=20)
    assert intervals(hypothesis) == [(0.0, 0.4, ""), (0.4, 0.8, "a b c"), (0.8, 1.6, "")]


def test_cues_are_short():
    words = [("word" * 3, 0.5 * i, 0.5 * i + 0.5) for i in range(10)]
    texts = write("srt", ("u", at(*words))).split("\n")[2::4]
    assert [len(text.split()) for text in texts if text] == [3, 3, 3, 1]
    slow = [("ja", 2.0 * i, 2.0 * i + 1.9) for i in range(6)]
    assert len(WRITERS["srt"]([("u", at(*slow))])) == 2 * 4


def test_a_cue_is_never_empty_in_time():
    long = "x" * 42
    lines = WRITERS["srt"]([("u", at(("a", 0.0, 0.08), (long, 0.08, 0.08), (long, 0.08, 0.4)))])
    assert lines[1:3] == ["00:00:00,000 --> 00:00:00,080", "a"]
    assert lines[5:7] == ["00:00:00,080 --> 00:00:00,400", f"{long} {long}"]


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_subtitles_are_of_one_recording(kind):
    with pytest.raises(ValueError, match="subtitles are of one recording, not of 2"):
        WRITERS[kind]([("a", HELLO), ("b", HELLO)])


def test_json_has_null_where_nothing_was_found():
    nothing = Hypothesis((), -math.inf, 3, note="no path")
    (line,) = json_lines([("u", replace(nothing, alternatives=(nothing,)))])
    value = json.loads(line, parse_constant=pytest.fail)
    assert value["score"] is value["alternatives"][0]["score"] is None and value["note"] == "no path"
