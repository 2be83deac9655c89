"""Hypotheses: times and words of their tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hainan_k2.result import Hypothesis, Token, Word, hypotheses_from_lists

PIECES = ["<blk>", "▁he", "llo", "▁", "▁wor", "ld", "'s", "a"]


def hypothesis_of(*tokens, num_frames=20):
    return Hypothesis(tuple(Token(*token) for token in tokens), -1.5, num_frames)


HELLO = hypothesis_of((1, 2, 2, 0.9), (2, 4, 1, 0.6), (4, 7, 0, 0.75), (5, 7, 4, 0.8), num_frames=10)


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
    hypothesis = hypothesis_of((3, 1, 2, 1.0), (7, 3, 1, 1.0), (3, 6, 1, 1.0)).with_words(PIECES)
    assert [word.text for word in hypothesis.words] == ["a"]


CASED = [
    "<blk>",
    "<unk>",
    "▁Yes",
    ",",
    "▁it",
    "'",
    "s",
    ".",
    "▁",
    "<0xE6>",
    "<0x97>",
    "<0xA5>",
    "<|en|>",
    "?",
    "<0x0A>",
]


def test_words_keep_casing_and_punctuation_and_end_before_it():
    """A comma that is emitted in the pause after a word does not lengthen the word; nor does a final apostrophe."""
    hypothesis = hypothesis_of(
        (2, 0, 2, 0.9), (3, 6, 2, 0.5), (4, 8, 1, 0.9), (5, 9, 1, 0.8), (6, 10, 2, 0.9), (7, 15, 1, 1)
    )
    words = hypothesis.with_words(CASED).words
    assert words == (Word("Yes,", 0.0, 0.16, 0.5), Word("it's.", 0.64, 0.96, 0.8))
    (alone,) = hypothesis_of((8, 3, 1, 1.0), (7, 4, 2, 1.0)).with_words(CASED).words
    assert alone == Word(".", 0.32, 0.48, 1.0)


def test_symbols_are_in_no_word():
    tokens = (
        (12, 0, 3, 0.1),
        (2, 3, 1, 0.9),
        (12, 4, 2, 0.1),
        (3, 6, 1, 0.8),
        (12, 7, 1, 0.1),
        (4, 9, 1, 0.7),
        (12, 10, 5, 0.1),
    )
    words = hypothesis_of(*tokens).with_words(CASED).words
    assert [(word.text, word.start, word.end) for word in words] == [("Yes,", 0.24, 0.32), ("it", 0.72, 0.8)]
    assert [word.confidence for word in words] == [0.8, 0.7]
    assert hypothesis_of((12, 0, 3, 0.1)).with_words(CASED).text == ""


def test_bytes_are_joined_to_letters():
    day = [(8, 1, 1, 0.9), (9, 2, 1, 0.8), (10, 3, 1, 0.7), (11, 4, 1, 0.6)]
    (word,) = hypothesis_of(*day).with_words(CASED).words
    assert word == Word("日", 0.16, 0.4, 0.6)
    (half,) = hypothesis_of(*day[:3], (13, 5, 1, 1.0)).with_words(CASED).words
    assert half.text == "\ufffd?"
    assert hypothesis_of((14, 0, 1, 1.0)).with_words(CASED).text == "", "a line break is not a word"


def test_a_first_piece_without_word_start_begins_a_word():
    assert hypothesis_of((5, 0, 1, 1.0), (1, 1, 1, 1.0)).with_words(PIECES).text == "ld he"


def test_nothing_said():
    hypothesis = hypothesis_of().with_words(PIECES)
    assert (hypothesis.text, hypothesis.words, hypothesis.start, hypothesis.end) == ("", (), 0.0, 0.0)


def test_unknown_token_ids_are_refused():
    with pytest.raises(ValueError, match="token id 9 is beyond the tokenizer's 8 pieces"):
        hypothesis_of((9, 0, 1, 1.0)).with_words(PIECES)


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
    hypothesis = hypothesis_of(*((*token, 1.0) for token in tokens), num_frames=length)
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
