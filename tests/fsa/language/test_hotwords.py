import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.language.hotwords import HotwordGraph
from hainan_k2.fsa.language.scorers import WeightedScorers
from tests.oracles.hotwords import hotwords, paid, token_bias

VOCAB = 6
sequences = st.lists(st.lists(st.integers(1, VOCAB - 1), max_size=12), max_size=5)


def step_by_step(graph, ids):
    """The states along `ids`, the steps' weights and the weight of the end."""
    states, weights = [torch.tensor([graph.start])], []
    for token in ids:
        weight, state = graph.advance(states[-1], torch.tensor([token]))
        states.append(state)
        weights.append(weight.item())
    return states, weights, graph.final(states[-1]).item()


@settings(max_examples=40, deadline=None)
@given(hotwords(VOCAB), sequences)
def test_the_weights_of_a_sequence_add_up_to_its_whole_phrases(drawn, texts):
    graph = HotwordGraph.build(*drawn)
    assert graph.score(texts).tolist() == pytest.approx([paid(*drawn, ids) for ids in texts])
    for ids in texts:
        _, weights, last = step_by_step(graph, ids)
        assert sum(weights) + last == pytest.approx(paid(*drawn, ids))


@settings(max_examples=40, deadline=None)
@given(hotwords(VOCAB), sequences)
def test_advance_all_equals_advance_of_each_token(drawn, texts):
    graph = HotwordGraph.build(*drawn)
    bias = token_bias(drawn[0])
    tokens = torch.arange(1, VOCAB)
    for ids in texts:
        for length, state in enumerate(step_by_step(graph, ids)[0]):
            weights, reached = graph.advance_all(state)
            alone = graph.advance(state.expand(VOCAB - 1), tokens)
            assert weights[0, 1:].tolist() == pytest.approx(alone[0].tolist(), abs=1e-12)
            assert reached[0, 1:].tolist() == alone[1].tolist()
            assert (weights[0, 0], reached[0, 0]) == (0.0, state)
            expected = [0.0] + [bias(ids[:length], token) for token in range(1, VOCAB)]
            assert graph.bias(state)[0].tolist() == expected


@settings(max_examples=40, deadline=None)
@given(hotwords(VOCAB), sequences, st.sampled_from((0.0, 0.7, 2.0)))
def test_a_scale_multiplies_every_weight(drawn, texts, scale):
    graph = HotwordGraph.build(*drawn)
    scaled = HotwordGraph.build({ids: scale * weight for ids, weight in drawn[0].items()}, drawn[1])
    assert graph.scaled(scale).score(texts).tolist() == pytest.approx(scaled.score(texts).tolist())
    for ids in texts:
        assert step_by_step(graph.scaled(scale), ids)[1] == pytest.approx(step_by_step(scaled, ids)[1])


def test_nested_and_overlapping_phrases_all_count_and_unfinished_ones_do_not():
    new, york, city, ton = 1, 2, 3, 4  # "ton" continues a word
    graph = HotwordGraph.build({(new, york): 1.0, (york,): 2.0, (york, city): 1.0}, [False, True, True, True, False])
    texts = [[new, york, city], [new, york], [new], [new, york, ton], [new, ton, york], []]
    assert graph.score(texts).tolist() == [6.0, 4.0, 0.0, 0.0, 2.0, 0.0]


def test_a_phrase_is_credited_token_by_token():
    graph = HotwordGraph.build({(1, 2, 3): 1.5}, [False, True, True, True, True])
    assert step_by_step(graph, [1, 2, 3, 4])[1:] == ([1.5, 1.5, 1.5, 0.0], 0.0)
    assert step_by_step(graph, [1, 2, 4])[1:] == ([1.5, 1.5, -3.0], 0.0)
    assert step_by_step(graph, [1, 2])[1:] == ([1.5, 1.5], -3.0)


def test_refundable_is_the_credit_of_scorers_of_positive_weight():
    graph = HotwordGraph.build({(1, 2, 3): 1.5}, [False, True, True, True, True])
    states = torch.tensor([0, 1, 2, 3])
    assert graph.refundable(states).tolist() == [0.0, 1.5, 3.0, 4.5]
    for weights, refunds, expected in (((2.0, -1.0), True, [0.0, 3.0, 6.0, 9.0]), ((-1.0,), False, [0.0] * 4)):
        scorers = WeightedScorers([(graph, weight) for weight in weights], torch.device("cpu"))
        both = states if len(weights) == 1 else states * graph.num_states + states
        assert scorers.refunds == refunds and scorers.refundable(both).tolist() == expected


def test_ten_thousand_phrases():
    rng = random.Random(1)
    starts = [False] + [i % 2 == 0 for i in range(1, 500)]
    phrases = {}
    while len(phrases) < 10_000:
        words = [
            [rng.randrange(2, 500, 2)] + [rng.randrange(1, 500, 2) for _ in range(rng.randint(0, 3))]
            for _ in range(rng.randint(1, 3))
        ]
        phrases[tuple(sum(words, []))] = 1.0
    graph = HotwordGraph.build(phrases, starts)
    tokens = sum(map(len, phrases))
    assert graph.num_arcs == graph.num_states - 1 <= tokens
    names = ("keys", "targets", "first_edge", "failure", "ended", "credit", "weight")
    assert sum(getattr(graph, name).numel() for name in names) <= 7 * (tokens + 2)
    texts = [list(phrase) + list(rng.choice(list(phrases))) for phrase in list(phrases)[::500]]
    assert graph.score(texts).tolist() == [paid(phrases, starts, ids) for ids in texts]


@pytest.mark.parametrize(
    "phrases, complaint",
    [
        ({}, "there is no hotword"),
        ({(): 1.0}, "should be tokens of 1 to 3 that start a word"),
        ({(2, 1): 1.0}, "should be tokens of 1 to 3 that start a word"),
        ({(1, 4): 1.0}, "should be tokens of 1 to 3 that start a word"),
        ({(1, 0): 1.0}, "should be tokens of 1 to 3 that start a word"),
        ({(1,): -1.0}, "has the weight -1.0"),
        ({(1,): float("nan")}, "has the weight nan"),
    ],
)
def test_invalid_phrases_are_refused(phrases, complaint):
    with pytest.raises(ValueError, match=complaint):
        HotwordGraph.build(phrases, [False, True, False, True])


def test_a_negative_scale_is_refused():
    with pytest.raises(ValueError, match="scale -1"):
        HotwordGraph.build({(1,): 1.0}, [False, True]).scaled(-1.0)
