"""The references of the searches, on models that always decide the same and on tables worked out by hand."""

import math

import pytest
import torch

from tests.oracles.search import (
    Speaker,
    all_texts,
    ar_greedy,
    argmax,
    best_token,
    encoder_output,
    nar_greedy,
    nar_paths,
    nar_tables,
    refine,
    viterbi,
)

# two frames, tokens {blank, 1}, durations 1 and 2
TOKENS, DURATIONS = [[-1.0, -2.0], [-3.0, -0.5]], [[-0.1, -2.0], [-0.2, -0.3]]


def frames(count):
    return encoder_output(0, [count])[0][0]


def test_the_first_of_equal_values_is_the_best():
    assert argmax([1.0, 3.0, 3.0]) == 1


def test_a_bias_never_raises_blank():
    assert best_token([-1.0, -2.0], lambda ids, token: 0.5, ()) == 0
    assert best_token([-1.0, -2.0], lambda ids, token: 1.5, ()) == 1


def test_encoder_output_is_padded_with_nan():
    out, lens = encoder_output(0, [1, 3])
    assert lens.tolist() == [1, 3] and out.shape == (2, 3, Speaker.channels)
    assert out[0, 1:].isnan().all() and out[0, 0].isfinite().all() and out[1].isfinite().all()


@pytest.mark.parametrize("walk", [lambda m, x: ar_greedy(m, x, 2)[0], lambda m, x: nar_greedy(m, x)[0]])
def test_a_walk_goes_on_by_the_duration(walk):
    model = Speaker(0).always(2, token=3)
    assert walk(model, frames(5)) == [(3, 0, 2), (3, 2, 2), (3, 4, 2)]
    assert walk(Speaker(0).always(2, token=0), frames(5)) == []


def test_duration_0_stays_on_the_frame_up_to_max_symbols():
    model = Speaker(0).always(0, token=1)
    assert ar_greedy(model, frames(2), 2)[0] == [(1, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 0)]
    assert nar_greedy(model, frames(2))[0] == [(1, 0, 0), (1, 1, 0)]


def test_the_score_of_a_walk_adds_up_its_decisions():
    model, encoded = Speaker(3), frames(6)
    tokens, durations = nar_tables(model, encoded)
    time, total = 0, 0.0
    while time < 6:
        total += max(tokens[time]) + max(durations[time])
        time += max(1, model.durations[argmax(durations[time])])
    assert nar_greedy(model, encoded)[1] == pytest.approx(total)


def test_refining_replaces_and_drops_tokens():
    before = [(1, 0, 1), (2, 1, 1)]
    after, rounds = refine(Speaker(0).always(1, token=2), frames(2), before, 5)
    assert after == [(2, 0, 1), (2, 1, 1)] and rounds == [((2, 2), 1, 0), ((2, 2), 0, 0)]
    assert refine(Speaker(0).always(1, token=0), frames(2), before, 5) == ([], [((), 0, 2)])
    assert refine(Speaker(0), frames(2), [], 5) == ([], [])


def test_viterbi():
    path, score = viterbi(TOKENS, DURATIONS, (1, 2))
    assert path == [(1, 1, 1)] and score == pytest.approx(-1.0 - 0.1 - 0.5 - 0.2)
    path, score = viterbi(TOKENS, DURATIONS, (1, 2), bonus=2.0)
    assert path == [(1, 0, 1), (1, 1, 1)] and score == pytest.approx(0.0 - 0.1 + 1.5 - 0.2)
    path, score = viterbi(TOKENS, DURATIONS, (1, 2), blank_penalty=1.5)
    assert path == [(1, 0, 1), (1, 1, 1)] and score == pytest.approx(-2.0 - 0.1 - 0.5 - 0.2)
    assert viterbi(TOKENS, DURATIONS, (1, 2), scale=0.0)[1] == pytest.approx(-1.0)  # over both frames at once


def test_every_path_of_the_lattice():
    """8 paths of two arcs of duration 1 or 2 at the second, 2 of one arc of duration 2."""
    paths = list(nar_paths(TOKENS, DURATIONS, (1, 2)))
    assert len(paths) == 10 and max(score for _, score in paths) == pytest.approx(viterbi(TOKENS, DURATIONS, (1, 2))[1])
    normal = torch.tensor([TOKENS, DURATIONS]).log_softmax(-1).tolist()
    assert sum(math.exp(score) for _, score in nar_paths(*normal, (1, 2))) == pytest.approx(1.0)


def test_the_probabilities_of_all_texts_add_up():
    texts = all_texts(Speaker(1, vocab_size=3, durations=(0, 1, 2)), frames(3), max_symbols=2)
    assert sum(map(math.exp, texts.values())) == pytest.approx(1.0) and () in texts and len(texts) > 10


def test_all_texts_of_a_model_that_always_decides_the_same():
    texts = all_texts(Speaker(0, vocab_size=3, durations=(1, 2)).always(1, token=2), frames(2), max_symbols=2)
    assert texts[2, 2] == pytest.approx(0.0)
