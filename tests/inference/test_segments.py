"""Long recordings, searched segment by segment."""

import functools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.inference.segments import Limits, find_cuts, join, search_segments
from hainan_k2.result import Hypothesis, Token
from hainan_k2.search import METHODS, NO_RESOURCES, DecodingResources, SearchConfig
from hainan_k2.search.sweep import Row
from tests.oracles.search import Speaker, encoder_output

PIECES = ["<blk>", "▁a", "b", "▁c", "d"]


@functools.cache
def speaker():
    return Speaker(3, durations=(0, 1, 2, 4, 8), blank_bias=3.0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 8)), max_size=60), st.integers(0, 40), st.integers(2, 30))
def test_cuts_lie_in_the_widest_gaps(steps, rest, longest):
    tokens, frame = [], 0
    for pause, duration in steps:
        frame += pause
        tokens.append(Token(1, frame, duration, 1.0))
    hypothesis = Hypothesis(tuple(tokens), 0.0, frame + rest + 1)
    cuts = find_cuts(hypothesis, longest)
    edges = [0, *cuts, hypothesis.num_frames]
    sizes = [b - a for a, b in zip(edges, edges[1:])]
    assert max(sizes) <= longest and all(2 * size >= longest for size in sizes[:-1])
    inside = [any(start < frame < end for start, end in hypothesis.spans()) for frame in range(hypothesis.num_frames)]
    for begin, cut in zip(edges, cuts):
        choices = range(begin + (longest + 1) // 2, begin + longest + 1)
        assert not inside[cut] or all(inside[frame] for frame in choices if frame < hypothesis.num_frames)


@pytest.mark.parametrize("longest, whole", [(30, False), (400, True)])
def test_viterbi_in_segments_is_that_of_its_parts(longest, whole):
    encoded, _ = encoder_output(5, [200])
    row = Row("viterbi", "viterbi", SearchConfig())
    joined = search_segments(speaker(), encoded[0], row, NO_RESOURCES, "x", PIECES + ["e"], longest)
    lens = torch.tensor([200])
    cuts = find_cuts(METHODS["nar-greedy"].function(speaker(), encoded, lens, SearchConfig())[0], longest)
    assert bool(cuts) != whole
    tokens, begin = [], 0
    for part in encoded[0].tensor_split(cuts):
        (alone,) = METHODS["viterbi"].function(speaker(), part[None], torch.tensor([len(part)]), SearchConfig())
        tokens += [(t.id, t.frame + begin, t.duration) for t in alone.tokens]
        begin += len(part)
    assert tokens and [(t.id, t.frame, t.duration) for t in joined.tokens] == tokens
    assert joined.num_frames == begin == 200


def test_what_is_joined():
    first = Hypothesis((Token(1, 2, 1, 0.5), Token(2, 4, 1, 0.9)), -1.0, 10, note="outside (by far)")
    second = Hypothesis((Token(4, 0, 3, 1.0),), -2.0, 5, alternatives=(Hypothesis((), 0.0, 5),))
    both = join([first, second, first], PIECES)
    assert [(t.id, t.frame) for t in both.tokens] == [(1, 2), (2, 4), (4, 10), (1, 17), (2, 19)]
    assert both.score == -4.0 and both.num_frames == 25 and both.output is None
    assert both.note == "2 of 3 segments: outside; the alternatives of segments are not joined"
    assert both.with_words(PIECES).text == "abd ab"  # a word may cross a seam
    graph = Hypothesis((Token(1, 1, 1, 1.0), Token(3, 2, 1, 1.0)), 0.0, 5, output=(("A C", 0, 2),))
    mixed = join([first, graph], PIECES)
    assert mixed.output == (("ab", 0, 2), ("A C", 2, 4))
    assert mixed.with_words(PIECES).words[1].start == pytest.approx(0.88)


@pytest.mark.parametrize("fails", [False, True])
def test_a_segment_that_fails_fails_the_recording(monkeypatch, fails):
    def refuse_loud(model, encoder_out, lens, options, resources):
        if float(encoder_out.abs().max()) > 100:
            raise ValueError("too loud")
        return METHODS["nar-greedy"].function(model, encoder_out, lens, options)

    monkeypatch.setitem(METHODS, "mbr", replace(METHODS["mbr"], function=refuse_loud))
    encoded, _ = encoder_output(5, [90])
    encoded[0, 70] = 1e3 if fails else 0.0
    row = Row("mbr", "mbr", SearchConfig())
    joined = search_segments(speaker(), encoded[0], row, NO_RESOURCES, "x", PIECES + ["e"], 30)
    assert joined == "ValueError: too loud" if fails else joined.num_frames == 90


def test_nbest_lists_are_made_of_shorter_segments(monkeypatch):
    lengths = {}

    def record(model, encoder_out, lens, options, resources):
        lengths.setdefault(encoder_out.shape[1] > 125, []).extend(lens.tolist())
        return METHODS["nar-greedy"].function(model, encoder_out, lens, options)

    encoded, _ = encoder_output(5, [900])
    for method, longest in (("nbest-lm", 125), ("viterbi-lm", 375)):
        lengths.clear()
        monkeypatch.setitem(METHODS, method, replace(METHODS[method], function=record))
        row = Row(method, method, SearchConfig())
        joined = search_segments(speaker(), encoded[0], row, NO_RESOURCES, "x", PIECES + ["e"], longest)
        sizes = sum(lengths.values(), [])
        assert sum(sizes) == joined.num_frames == 900 and longest / 2 <= max(sizes) <= longest, method
        assert set(lengths) == {longest > 125}


def test_which_methods_take_any_length():
    def limits(method, resources=NO_RESOURCES):
        return Limits.of(Row(method, method, SearchConfig()), resources)

    unlimited = ["ar-greedy", "ar-beam", "nar-greedy", "sar", "ctc-greedy", "viterbi", "sar-viterbi"]
    assert [name for name in METHODS if limits(name) is None] == unlimited
    hotwords = DecodingResources(hotwords=object())
    assert limits("viterbi", hotwords) == limits("viterbi-lm") == Limits(375, 375) and limits("sar", hotwords) is None
    assert limits("mbr") == Limits(375, 125)
