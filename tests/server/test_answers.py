"""Answers: fields of a request, and that every hypothesis can be answered in every format."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hainan_k2.result import Hypothesis, Word
from hainan_k2.server.answers import FORMATS, BadField, Wanted, answer

words = st.builds(
    Word,
    st.sampled_from(["a", "<b>", "é", "--> x"]),
    st.floats(0, 5, width=16),
    st.floats(5, 9, width=16),
    st.floats(0, 1, width=16),
)


@given(st.lists(words, max_size=6), st.sampled_from(list(FORMATS)))
def test_every_hypothesis_has_an_answer(listed, kind):
    hypothesis = Hypothesis((), float("-inf"), 100, tuple(listed), " ".join(word.text for word in listed))
    content_type, content = answer(hypothesis, 9.0, Wanted(kind))
    if content_type == "application/json":
        value = json.loads(content)
        assert value["text"] == hypothesis.text
        if kind == "verbose_json":
            assert [word["word"] for word in value["words"]] == [word.text for word in listed]
            assert " ".join(segment["text"] for segment in value["segments"]) == hypothesis.text
    else:
        assert content.endswith("\n") and content.startswith("WEBVTT") == (kind == "vtt")


def test_fields_of_a_request():
    assert Wanted.of([]) == Wanted("json", ("word", "segment"), "und")
    fields = [("response_format", "verbose_json"), ("timestamp_granularities[]", "word"), ("language", "de")]
    assert Wanted.of([*fields, ("model", "x"), ("temperature", "0.0")]) == Wanted("verbose_json", ("word",), "de")
    assert Wanted.of([("prompt", ""), ("stream", "false"), ("temperature", "")]) == Wanted()


@pytest.mark.parametrize("name, value", [("temperature", "1"), ("prompt", "x"), ("stream", "1"), ("size", "x")])
def test_what_would_change_the_result_is_refused(name, value):
    with pytest.raises(BadField) as refused:
        Wanted.of([(name, value)])
    assert refused.value.name == name and name in str(refused.value).replace("prompts", "prompt") or name == "stream"
