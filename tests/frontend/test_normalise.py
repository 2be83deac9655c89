import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.data.extractors import UtteranceNorm
from hainan_k2.frontend.nemo_mel import normalise_per_feature
from hainan_k2.frontend.normalise import normalise
from hainan_k2.frontend.sherpa_mel import normalise_by_sherpa
from hainan_k2.frontend.spec import FBANK, FeatureSpec


def test_normalised_bins_have_mean_0_and_variance_1():
    normalised = normalise(torch.randn(200, 80) * torch.linspace(0.5, 4, 80) - 7)
    torch.testing.assert_close(normalised.mean(0), torch.zeros(80), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalised.std(0), torch.ones(80), atol=1e-4, rtol=0)


def test_an_empty_band_is_not_amplified():
    features_with_dead_band = torch.randn(200, 80)
    features_with_dead_band[:, 60:] = -15.94 + 0.01 * torch.randn(200, 20)
    assert normalise(features_with_dead_band)[:, 60:].abs().max() < 0.6
    assert torch.equal(normalise(torch.full((5, 80), -15.94)), torch.zeros(5, 80))
    assert torch.equal(normalise(torch.randn(1, 80)), torch.zeros(1, 80))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=5), st.integers(0, 20))
def test_an_utterance_is_normalised_alike_in_any_batch(lens, padding):
    torch.manual_seed(sum(lens))
    utterances = [torch.randn(n, 80) for n in lens]
    batch = torch.full((len(lens), max(lens) + padding, 80), -100.0)
    for row, utterance in zip(batch, utterances):
        row[: len(utterance)] = utterance
    segments = torch.tensor([[i, 0, n] for i, n in enumerate(lens)], dtype=torch.int32)
    others = (FeatureSpec("nemo"), normalise_per_feature), (FeatureSpec("sherpa-onnx"), normalise_by_sherpa)
    for spec, one in ((FBANK, normalise), *others):
        for row, utterance in zip(UtteranceNorm(spec)(batch, segments), utterances):
            assert torch.equal(row[: len(utterance)], one(utterance))  # each is reduced alone
            assert not row[len(utterance) :].any()


def test_norm_without_segments_takes_whole_rows():
    batch = torch.randn(2, 30, 80)
    assert torch.equal(UtteranceNorm()(batch), torch.stack([normalise(row) for row in batch]))


def test_nemos_normalisation_adds_to_the_deviation_instead_of_limiting_it():
    features = torch.randn(200, 80) * torch.linspace(0.5, 4, 80) - 7
    normalised = normalise_per_feature(features)
    torch.testing.assert_close(normalised.mean(0), torch.zeros(80), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalised.std(0), torch.ones(80), atol=1e-4, rtol=0)
    torch.testing.assert_close(normalised, normalise(features), atol=1e-4, rtol=0)
    faint = 1e-3 * torch.randn(500, 1)
    assert normalise_per_feature(faint).std() == pytest.approx(1 / (1 + 1e-2), rel=0.05)
    assert torch.equal(normalise_per_feature(torch.randn(1, 80)), torch.zeros(1, 80))
