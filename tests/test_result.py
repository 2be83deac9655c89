import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hainan_k2.result import WRITERS, Hypothesis, Token, Word, hypotheses_from_lists, json_lines

PIECES = ["<blk>", "▁he", "llo", "▁", "▁wor", "ld", "'s", "a"]


def said(*tokens, num_frames=20):
    return Hypothesis(tuple(Token(*token) for token in tokens), -1.5, num_frames)


HELLO = said((1, 2, 2, 0.9), (2, 4, 1, 0.6), (4, 7, 0, 0.75), (5, 7, 4, 0.8), num_frames=10)


def test_words_from_pieces():
    hypothesis = HELLO.with_words(PIECES)
    assert hypothesis.text == "hello world"
    assert hypothesis.words == (Word("hello", 0.16, 0.4, 0.6), Word("world", 0.56, 0.8, 0.75))
    assert (hypothesis.start, hypothesis.end) == (0.16, 0.8)
    assert hypothesis.ids == (1, 2, 4, 5)


def test_a_word_ends_with_the_audio():
    assert HELLO.with_words(PIECES, audio_seconds=0.777).words[-1].end == 0.777
    assert HELLO.with_words(PIECES, frame_shift=0.04).words[0] == Word("hello", 0.08, 0.2, 0.6)


def test_a_lone_word_start_belongs_to_the_next_piece():
    hypothesis = said((3, 1, 2, 1.0), (7, 3, 1, 1.0), (3, 6, 1, 1.0)).with_words(PIECES)
    assert [word.text for word in hypothesis.words] == ["a"]


def test_a_first_piece_without_word_start_begins_a_word():
    assert said((5, 0, 1, 1.0), (1, 1, 1, 1.0)).with_words(PIECES).text == "ld he"


def test_nothing_said():
    hypothesis = said().with_words(PIECES)
    assert (hypothesis.text, hypothesis.words, hypothesis.start, hypothesis.end) == ("", (), 0.0, 0.0)


def test_unknown_token_ids_are_refused():
    with pytest.raises(ValueError, match="token id 9 is beyond the tokenizer's 8 pieces"):
        said((9, 0, 1, 1.0)).with_words(PIECES)


def test_alternatives_get_their_words():
    hypothesis = Hypothesis(HELLO.tokens, -1.0, 10, alternatives=(HELLO,)).with_words(PIECES)
    assert hypothesis.alternatives[0].text == "hello world"


@given(
    st.integers(1, 40).flatmap(
        lambda length: st.tuples(
            st.just(length),
            st.lists(st.tuples(st.integers(1, 7), st.integers(0, length - 1), st.integers(0, 8)), max_size=9),
        )
    ),
    st.floats(0.0, 4.0),
)
def test_words_never_overlap_nor_outlast_the_audio(case, seconds):
    length, tokens = case
    tokens = sorted(tokens, key=lambda token: token[1])
    hypothesis = said(*((*token, 1.0) for token in tokens), num_frames=length)
    spans = [time for span in hypothesis.spans() for time in span]
    assert spans == sorted(spans) and all(0 <= time <= length for time in spans)
    words = hypothesis.with_words(PIECES, audio_seconds=seconds).words
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times) and all(time <= seconds + 0.0005 for time in times)
    assert " ".join(word.text for word in words) == hypothesis.with_words(PIECES).text


def test_hypotheses_from_the_tokens_of_a_batch():
    first, second, third = hypotheses_from_lists(
        [0, 0, 2], [4, 5, 6], [1, 3, 0], [2, 0, 1], [0.5, 0.25, 1.0], [-1.0, 0.0, -2.0], [5, 0, 3]
    )
    assert first == Hypothesis((Token(4, 1, 2, 0.5), Token(5, 3, 0, 0.25)), -1.0, 5)
    assert second == Hypothesis((), 0.0, 0)
    assert third == Hypothesis((Token(6, 0, 1, 1.0),), -2.0, 3)


def write(kind, *results):
    return "\n".join(WRITERS[kind](results)) + "\n"


def test_text():
    assert write("txt", ("u1", HELLO.with_words(PIECES)), ("u2", said())) == "u1 hello world\nu2\n"


def test_ctm():
    assert write("ctm", ("u1", HELLO.with_words(PIECES)), ("u2", said())) == (
        "u1 1 0.160 0.240 hello 0.600\nu1 1 0.560 0.240 world 0.750\n"
    )


def test_json_lines():
    line, empty = WRITERS["jsonl"]([("u1", HELLO.with_words(PIECES)), ("u2", said())])
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
    found = json.loads(line, parse_constant=pytest.fail)
    assert found["score"] is found["alternatives"][0]["score"] is None and found["note"] == "no path"
