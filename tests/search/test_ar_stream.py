"""The beam search of a stream, in pieces of any size, against the search of the whole."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.language.grammar import make_grammar
from hainan_k2.fsa.language.hotwords import HotwordGraph
from hainan_k2.search import METHODS, NO_RESOURCES, DecodingResources, SearchConfig
from hainan_k2.search.ar_results import read_hypotheses
from hainan_k2.search.ar_stream import StreamingBeam
from tests.oracles.search import Speaker, batches, encoder_output, shape
from tests.search.test_ar_automata import PIECES, VOCAB, everything, graph_of, no_end
from tests.search.test_methods import bigrams

whole = METHODS["ar-beam"].function


@st.composite
def resources(draw, vocab_size):
    """Any of a language model, a second one that is subtracted, and hotwords."""
    lm, lodr, biased = (draw(st.booleans()) for _ in range(3))
    tokens = st.lists(st.integers(1, vocab_size - 1), min_size=1, max_size=3).map(tuple)
    phrases = draw(st.dictionaries(tokens, st.sampled_from((0.5, 2.0)), min_size=1, max_size=2))
    return DecodingResources(
        lm=bigrams(vocab_size) if lm else None,
        lodr_lm=bigrams(vocab_size) if lm and lodr else None,
        hotwords=HotwordGraph.build(phrases, [True] * vocab_size) if biased else None,
    )


def stream(model, frames, places, options, given=NO_RESOURCES, known=0):
    """Final tokens, the rest, and the search of a stream in pieces; `known`: frames known to follow, if there are."""
    search, final, past = StreamingBeam(model, options, given), [], 0
    for piece in torch.tensor_split(frames, places):
        past += len(piece)
        final += search.accept(piece, min(known, len(frames) - past))
    return final, search.finish(), search


@settings(max_examples=40, deadline=None)
@given(
    batch=batches(max_frames=40, max_utterances=1),
    places=st.lists(st.integers(0, 40), max_size=6).map(sorted),
    known=st.integers(0, 12),
    max_symbols=st.sampled_from((1, 3, 10)),
    beam=st.sampled_from((1, 2, 4)),
    context=st.integers(0, 2),
    data=st.data(),
)
def test_a_search_in_pieces_is_the_search_of_the_whole(batch, places, known, max_symbols, beam, context, data):
    model, encoded, lens = batch
    given = data.draw(resources(model.vocab_size))
    options = SearchConfig(max_symbols=max_symbols, beam=beam, context_tokens=context, lm_scale=0.6, lodr_scale=0.3)
    (expected,) = whole(model, encoded, lens, options, given)
    frames = encoded[0, : int(lens[0])]
    final, rest, search = stream(model, frames, [min(p, len(frames)) for p in places], options, given, known)
    assert [(t.id, t.frame, t.duration) for t in final + rest] == shape(expected)
    assert [t.confidence for t in final + rest] == pytest.approx([t.confidence for t in expected.tokens])
    assert search.num_frames == len(frames)
    (found,) = read_hypotheses(search, [len(frames)], 1)
    assert found.hypothesis.score == pytest.approx(expected.score, abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(batches(max_frames=24, max_utterances=1), st.integers(3, 9), st.data())
def test_a_preview_is_the_result_if_the_stream_ended_there_and_changes_nothing(batch, size, data):
    model, encoded, lens = batch
    given = data.draw(resources(model.vocab_size))
    options, frames, final = SearchConfig(), encoded[0, : int(lens[0])], []
    search = StreamingBeam(model, options, given)
    for end in range(size, len(frames) + 1, size):
        final += search.accept(frames[end - size : end])
        ahead = frames[end : end + 5]
        (expected,) = whole(model, frames[None, : end + len(ahead)], torch.tensor([end + len(ahead)]), options, given)
        previewed = final + search.preview(ahead)
        assert [(t.id, t.frame, t.duration) for t in previewed] == shape(expected)


def test_memory_does_not_grow_with_the_length():
    model = Speaker(7, 6, (0, 1, 2, 4, 8), blank_bias=0.0)
    encoded, lens = encoder_output(7, [600])
    given = DecodingResources(lm=bigrams(6), hotwords=HotwordGraph.build({(2, 3): 1.0}, [True] * 6))
    options = SearchConfig(context_tokens=4)  # so that hypotheses which have differed long ago are one
    search, final, sizes = StreamingBeam(model, options, given), [], []
    for piece in encoded[0].split(10):
        final += search.accept(piece)
        sizes.append((search.trail_size, len(search.extension.hidden), search.predictions.used))
        assert sum(len(column) for column, *_ in search.trail) == search.trail_size
    (expected,) = whole(model, encoded, lens, options, given)
    assert [(t.id, t.frame, t.duration) for t in final + search.finish()] == shape(expected)
    assert len(final) > 60
    trail, hidden, predictions = map(max, zip(*sizes))
    assert trail < 60 and hidden <= 10 + 8 and predictions <= 2 * search.beam


def test_frames_known_to_follow_let_all_frames_be_searched():
    model = Speaker(3, 6, (0, 1, 2, 4), blank_bias=0.0)
    frames = encoder_output(3, [40])[0][0]
    for known, rows in ((0, 16), (3, 19), (4, 20), (9, 20)):
        search = StreamingBeam(model, SearchConfig())
        search.accept(frames[:20], known)
        earliest = int(search.columns[0].min()) // search.extension.symbols
        assert rows <= earliest < rows + 4


def test_what_is_refused(tmp_path):
    model, frames = Speaker(0, VOCAB), encoder_output(0, [9])[0][0]
    for changed, unsuitable, message in (
        ({"guide": "nar"}, {}, "guide nar needs the whole recording"),
        ({"nbest": 2}, {}, "nbest 2: a stream has one text"),
        ({}, {"grammar": make_grammar(everything(VOCAB), PIECES, False)}, "a grammar or graph needs the whole"),
        ({}, {"graph": graph_of(everything(VOCAB))}, "a grammar or graph needs the whole"),
    ):
        with pytest.raises(ValueError, match=message):
            StreamingBeam(model, replace(SearchConfig(), **changed), DecodingResources(**unsuitable))
    search = StreamingBeam(model, SearchConfig(), DecodingResources(lm=no_end(tmp_path)))
    assert isinstance(search.accept(frames), list)
    for ended in (search.finish, lambda: search.preview(frames)):
        with pytest.raises(ValueError, match="the language model, or the model itself, gives no text a probability"):
            ended()
    search = StreamingBeam(model, SearchConfig())
    search.accept(frames, 3)
    with pytest.raises(ValueError, match="a stream of 9 frames: 12 were known to come"):
        search.finish()
