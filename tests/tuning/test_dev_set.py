"""A development set in memory: its errors are those of decode.py's searches, utterance by utterance."""

from dataclasses import replace

import kaldialign
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.data.batch import Batch
from hainan_k2.search import METHODS, DecodingResources, SearchConfig
from hainan_k2.search.greedy import nar_greedy
from hainan_k2.search.viterbi import viterbi
from hainan_k2.text import normalise
from hainan_k2.tuning.dev_set import DevSet, EncodedBatch, word_errors
from tests.oracles.lm import SYMBOLS
from tests.oracles.search import Speaker, batches, encoder_output
from tests.tuning.test_lattices import Pieces

TEXTS = ("a b c", "", "d d")


def encoded(model, encoder_out, lens, first=0):
    names = tuple(f"utterance {first + i}" for i in range(len(lens)))
    seconds = tuple(0.08 * length for length in lens.tolist())
    batch = Batch(torch.zeros(0), lens, names, TEXTS[: len(lens)], seconds)
    return EncodedBatch(batch, encoder_out, lens)


def dev_set(model, parts, method="viterbi"):
    return DevSet(model, Pieces(SYMBOLS), method, SearchConfig(), DecodingResources(), parts)


@settings(max_examples=20, deadline=None)
@given(batches(), st.sampled_from((0.5, 1.0, 2.0)))
def test_the_errors_are_those_of_the_search(batch, scale):
    """Of two batches, whose utterances keep their order."""
    model, encoder_out, lens = batch
    dev = dev_set(model, [encoded(*batch), encoded(*batch, first=len(lens))])
    points = [SearchConfig(), SearchConfig(duration_scale=scale, token_bonus=1.0)]
    for point, errors in zip(points, dev.decode(points)):
        texts = [normalise(h.with_words(SYMBOLS).text) for h in viterbi(model, encoder_out, lens, point)]
        wanted = [
            kaldialign.edit_distance(reference.split(), text.split())["total"] for reference, text in zip(TEXTS, texts)
        ]
        assert errors.tolist() == wanted * 2
        assert dev.rate(errors) == sum(wanted) * 2 / dev.lengths.sum()
    assert dev.lengths.tolist() == [len(text.split()) for text in TEXTS[: len(lens)]] * 2


def test_errors_of_words():
    assert word_errors("a b c", "a x c d") == 2 and word_errors("", "a") == 1 and word_errors("a b", "") == 2


def fixed_batch():
    """A model and encoder output of three utterances of 2, 0 and 5 frames."""
    return (Speaker(0, len(SYMBOLS)), *encoder_output(1, [2, 0, 5]))


def test_what_is_too_long_for_the_method_is_left_out_and_named(monkeypatch, caplog):
    monkeypatch.setitem(METHODS, "viterbi", replace(METHODS["viterbi"], limit=0.3, limited_by=()))
    fixed = fixed_batch()
    dev = dev_set(fixed[0], [encoded(*fixed)])
    assert [r.getMessage() for r in caplog.records] == [
        "utterance 2 is left out: 0 s, viterbi searches up to 0.3 s at once"
    ]
    assert dev.references == ["a b c", ""] and len(dev.decode([SearchConfig()])[0]) == 2
    monkeypatch.setitem(METHODS, "viterbi", replace(METHODS["viterbi"], limit=-1.0, limited_by=()))
    with pytest.raises(ValueError, match="the development set has no words"):
        dev_set(fixed[0], [encoded(*fixed)])


def test_a_search_that_fails_counts_as_an_empty_text(monkeypatch, caplog):
    def fails(model, encoder_out, lens, options, resources):
        if len(lens) > 1 or int(lens[0]) == 5:
            raise ValueError("this utterance fails")
        return nar_greedy(model, encoder_out, lens, options, resources)

    monkeypatch.setitem(METHODS, "nar-greedy", replace(METHODS["nar-greedy"], function=fails))
    fixed = fixed_batch()
    dev = dev_set(fixed[0], [encoded(*fixed)], "nar-greedy")
    errors = dev.decode([SearchConfig()])[0]
    assert errors[2] == len(TEXTS[2].split()) and "failed on utterance utterance 2" in caplog.text
