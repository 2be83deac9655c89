"""Forced alignment: against the best of all paths, against decoding, and alone against in a batch."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.search import METHODS, SearchConfig
from hainan_k2.search import align as module
from hainan_k2.search.align import SCORES, align
from tests.oracles.loss import enumerate_paths, log_softmax
from tests.oracles.search import DURATION_SETS, Speaker, encoder_output, shape


def best_by_enumeration(model, encoded, text, scores):
    """(score, tokens) of the best path of the text's training lattice."""
    with torch.no_grad():
        projected = model.joiner.project_encoder(encoded)[:, None].expand(-1, len(text) + 1, -1)
        predicted = model.joiner.project_predictor(model.predictor(torch.tensor([text], dtype=torch.int64)))
        logits = model.joiner.logits(projected, predicted if scores == "ar" else None).numpy()
    tokens, durations = log_softmax(logits[..., : model.vocab_size]), log_softmax(logits[..., model.vocab_size :])
    best = -math.inf, []
    for path in enumerate_paths(len(encoded), list(text), model.durations):
        score = sum(tokens[t, u, token] + durations[t, u, i] for t, u, token, i in path)
        if score > best[0]:
            found = [(token, t, model.durations[i], math.exp(tokens[t, u, token])) for t, u, token, i in path if token]
            best = score, found
    return best


@st.composite
def cases(draw):
    predictor, layers = draw(st.sampled_from((("lstm", 1), ("lstm", 2), ("stateless", 1))))
    model = Speaker(draw(st.integers(0, 10**6)), 4, draw(st.sampled_from(DURATION_SETS)), predictor, layers, 0.0)
    lens = draw(st.lists(st.integers(0, 5), min_size=1, max_size=3))
    texts = [draw(st.lists(st.integers(1, 3), max_size=3)) for _ in lens]
    return (model, *encoder_output(draw(st.integers(0, 10**6)), lens), texts)


@pytest.mark.parametrize("scores", SCORES)
@settings(max_examples=40, deadline=None)
@given(cases())
def test_no_alignment_is_better(scores, case):
    model, encoded, lens, texts = case
    for b, hypothesis in enumerate(align(*case, scores)):
        length = int(lens[b])
        score, tokens = best_by_enumeration(model, encoded[b, :length], texts[b], scores)
        assert hypothesis.num_frames == length
        assert hypothesis.score == pytest.approx(score, abs=1e-9)
        assert [(t.id, t.frame, t.duration) for t in hypothesis.tokens] == [token[:3] for token in tokens]
        assert [t.confidence for t in hypothesis.tokens] == pytest.approx([token[3] for token in tokens], abs=1e-9)


@pytest.mark.parametrize("scores", SCORES)
def test_a_long_recording_is_aligned_in_a_band(scores, monkeypatch):
    """The texts are decoded ones. Bands of 8 labels grow where the path has no room, and it is then the best of all."""
    narrow = 0
    for seed in range(8):
        model = Speaker(seed, 5, DURATION_SETS[seed % 5], blank_bias=1.0)
        encoded, lens = encoder_output(seed, [60, 0, 45, 9])
        texts = [h.ids for h in METHODS["nar-greedy"].function(model, encoded, lens, SearchConfig())]
        whole = align(model, encoded, lens, texts, scores)
        with monkeypatch.context() as patch:
            for name, value in (("_STATES", 0), ("_LOGITS", 0), ("BANDS", {"nar": 8, "ar": 8})):
                patch.setattr(module, name, value)
            banded = align(model, encoded, lens, texts, scores)
        for text, a, b in zip(texts, whole, banded):
            assert shape(b) == shape(a) and b.score == pytest.approx(a.score, abs=1e-9)
            narrow += len(text) > 12
    assert narrow > 4


def test_any_text_can_be_aligned_in_a_band(monkeypatch):
    """Where the path by the band's estimate is impossible, the band grows until there is one."""
    model = Speaker(3, 5, (1, 2, 3), blank_bias=1.0)
    encoded, lens = encoder_output(3, [40, 23, 31])
    texts = [[1 + i % 4 for i in range(n)] for n in (39, 11, 30)]
    whole = align(model, encoded, lens, texts)
    for name, value in (("_STATES", 0), ("_LOGITS", 0), ("BANDS", {"nar": 2, "ar": 2})):
        monkeypatch.setattr(module, name, value)
    for text, a, b in zip(texts, whole, align(model, encoded, lens, texts)):
        assert list(b.ids) == text and -math.inf < b.score <= a.score + 1e-9


@pytest.mark.parametrize("scores, method", [("ar", "ar-greedy"), ("nar", "nar-greedy")])
def test_the_decoded_path_is_one_of_the_alignments(scores, method):
    """Of a path that ends exactly on the last frame, the alignment has the score or a better one."""
    compared = 0
    for seed in range(30):
        model = Speaker(seed, 5, (1, 2, 3), blank_bias=1.0)
        encoded, lens = encoder_output(seed, [12, 7, 9])
        decoded = METHODS[method].function(model, encoded, lens, SearchConfig())
        aligned = align(model, encoded, lens, [h.ids for h in decoded], scores)
        for b, (a, d) in enumerate(zip(aligned, decoded)):
            last, tokens = exact_path(model, encoded[b, : lens[b]], d, scores)
            if last:
                compared += 1
                assert a.ids == d.ids and a.score >= tokens - 1e-9
    assert compared > 10


def exact_path(model, encoded, hypothesis, scores):
    """(whether the greedy walk along these tokens ends on the last frame, its score)."""
    with torch.no_grad():
        projected = model.joiner.project_encoder(encoded)
        predicted = model.joiner.project_predictor(model.predictor(torch.tensor([hypothesis.ids], dtype=torch.int64)))
        t, u, score = 0, 0, 0.0
        while t < len(encoded):
            tokens, durations = model.joiner.log_probs(projected[t], predicted[0, u] if scores == "ar" else None)
            token, index = int(tokens.argmax()), int(durations.argmax())
            score += float(tokens[token] + durations[index])
            t, u = t + model.durations[index], u + (token > 0)
    return t == len(encoded) and token == 0, score


@pytest.mark.parametrize("scores", SCORES)
@settings(max_examples=15, deadline=None)
@given(cases())
def test_the_alignment_of_an_utterance_does_not_depend_on_its_batch(scores, case):
    model, encoded, lens, texts = case
    for b, together in enumerate(align(*case, scores)):
        (alone,) = align(model, encoded[b : b + 1, : max(1, int(lens[b]))], lens[b : b + 1], texts[b : b + 1], scores)
        assert shape(alone) == shape(together) and alone.score == pytest.approx(together.score, abs=1e-9)


def test_what_cannot_be_aligned_is_told():
    model, (encoded, lens) = Speaker(1, 5, (1, 2)), encoder_output(1, [4, 4])
    short, long = align(model, encoded, lens, [[1, 2], [1, 2, 3, 4, 1]])
    assert len(short.tokens) == 2 and math.isfinite(short.score)
    assert long.tokens == () and long.score == -math.inf
    with pytest.raises(ValueError, match="2 texts for 1 utterances"):
        align(model, encoded[:1], lens[:1], [[1], [2]])
    with pytest.raises(ValueError, match="token 5 is not in the model's vocabulary of 5"):
        align(model, encoded, lens, [[1], [5]])
    with pytest.raises(ValueError, match="scores is 'both': choose from ar, nar"):
        align(model, encoded, lens, [[1], [2]], "both")
    model.config = replace(model.config, objective="ctc", durations=(0,))
    with pytest.raises(ValueError, match="forced alignment needs a TDT model, and this is of type ctc"):
        align(model, encoded, lens, [[1], [2]])
