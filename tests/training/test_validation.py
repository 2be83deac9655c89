"""Validation: one pass of the encoder, by the engine that decodes."""

import math

import pytest
import torch

from hainan_k2.bench.decode import random_model
from hainan_k2.data.batch import Batch
from hainan_k2.data.long_utterance import LongUtterance
from hainan_k2.frontend.spec import FBANK
from hainan_k2.inference.window_sizes import Windows
from hainan_k2.text import normalise
from hainan_k2.training.objective import LossConfig
from hainan_k2.training.validation import Evaluator
from tests.data.corpus import babble


class Letters:
    """A tokenizer of two words."""

    pieces = ["<blk>", "<unk>", "▁a", "▁b", "c", "▁d"]
    scoring = staticmethod(normalise)

    def encode(self, text):
        return [2 + "ab".index(word) for word in text.split()]


@pytest.fixture(scope="module")
def model():
    return random_model("tiny", len(Letters.pieces), seed=1)


def batch(lens, scale=1.0):
    features = scale * torch.randn(len(lens), max(lens), 80, generator=torch.Generator().manual_seed(1))
    ids, seconds = tuple(f"id-{n}" for n in lens), tuple(n / 100 for n in lens)
    return Batch(features, torch.tensor(lens), ids, ("a b",) * len(lens), seconds)


def count_encoded(model):
    sizes = []
    return sizes, model.encoder.register_forward_hook(lambda module, inputs, outputs: sizes.append(len(inputs[0])))


def test_every_batch_is_encoded_once(model):
    sizes, hook = count_encoded(model)
    try:
        figures = Evaluator([batch([160, 80]), batch([240])], Letters()).validate(model, LossConfig())
    finally:
        hook.remove()
    assert sizes == [2, 1]
    assert set(figures) == {"dev_loss", "dev_wer", "dev_wer_nar"} and 0 < figures["dev_loss"] < 1000


def test_a_long_utterance_is_encoded_in_windows(model):
    samples = babble(16000 * 3, seed=3).astype("float32")
    short = Batch(FBANK.compute(samples)[None], torch.tensor([300]), ("x",), ("a b",), (3.0,))
    empty = torch.zeros(1, 0, 80), torch.tensor([0])
    long = Batch(*empty, ("x",), ("a b",), (3.0,), long=LongUtterance(FBANK, samples))
    at_once = Windows(30, 20, 10, 10)
    expected = Evaluator([short], Letters(), at_once).validate(model, LossConfig())
    assert Evaluator([long], Letters(), at_once).validate(model, LossConfig()) == expected
    sizes, hook = count_encoded(model)
    try:
        figures = Evaluator([long], Letters(), Windows(9, 6, 3, 3)).validate(model, LossConfig())
    finally:
        hook.remove()
    assert len(sizes) == 6 and math.isfinite(figures["dev_loss"]) and figures != expected


def test_no_figures_where_a_loss_is_not_a_number(model, caplog):
    figures = Evaluator([batch([160, 80], math.nan)], Letters()).validate(model, LossConfig())
    assert all(math.isnan(value) for value in figures.values())
    assert "2 utterances: id-160 id-80" in caplog.text
    assert caplog.records[0].name == "hainan_k2.training.validation"
