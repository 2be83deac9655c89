import pickle
import sys

import lhotse
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.frontend import features
from hainan_k2.frontend.features import (
    MIN_SAMPLES,
    Fbank,
    FbankConfig,
    UtteranceNorm,
    choose_backend,
    normalise,
    normalise_batch,
)
from tests.data.corpus import babble

NATIVE = FbankConfig(backend="kaldi-native-fbank")


def extract(samples: np.ndarray, **options) -> np.ndarray:
    return Fbank(FbankConfig(**options)).extract(samples.astype(np.float32), 16000)


@pytest.mark.parametrize("num_samples", [400, 559, 560, 4321, 16000, 40007])
@pytest.mark.parametrize("bins", [4, 80, 124])
def test_backends_and_lhotse_agree(num_samples, bins):
    pytest.importorskip("_kaldifeat")
    samples = babble(num_samples, seed=num_samples).astype(np.float32)
    reference = lhotse.Fbank(lhotse.FbankConfig(num_filters=bins)).extract(samples, 16000)
    for backend in ("kaldifeat", "kaldi-native-fbank"):
        ours = extract(samples, num_mel_bins=bins, backend=backend)
        np.testing.assert_allclose(ours, reference, atol=5e-3)


@settings(max_examples=40, deadline=None)
@given(st.integers(MIN_SAMPLES, 6000), st.sampled_from(["auto", "kaldi-native-fbank"]))
def test_number_of_frames_is_the_one_that_lhotse_computes(num_samples, backend):
    shape = extract(babble(num_samples, seed=0), backend=backend).shape
    assert shape == (lhotse.utils.compute_num_frames_from_samples(num_samples, 0.01, 16000), 80)


def test_digital_silence_is_finite():
    for backend in ("auto", "kaldi-native-fbank"):
        assert np.isfinite(extract(np.zeros(1600), backend=backend)).all()


def test_same_samples_same_features():
    samples = babble(16000, seed=3)
    assert np.array_equal(extract(samples), extract(samples))


def test_arrays_give_arrays_and_tensors_tensors():
    samples = babble(1600, seed=4).astype(np.float32)
    fbank = Fbank()
    tensor = fbank.extract(torch.from_numpy(samples)[None], 16000)
    assert isinstance(tensor, torch.Tensor) and isinstance(fbank.extract(samples, 16000), np.ndarray)
    batch = fbank.extract_batch(torch.from_numpy(np.stack([samples, samples])), 16000, lengths=[1600, 800])
    assert torch.equal(batch[0], tensor) and batch[1].shape == (5, 80)


@pytest.mark.parametrize(
    "samples, rate, message",
    [
        (np.zeros(16000), 8000, "16000 Hz audio, not 8000 Hz"),
        (np.zeros((2, 16000)), 16000, r"shape \(2, 16000\)"),
        (np.zeros(399), 16000, r"at least 400 samples \(25 ms\)"),
    ],
)
def test_bad_samples(samples, rate, message):
    with pytest.raises(ValueError, match=message):
        Fbank().extract(samples, rate)


@pytest.mark.parametrize("bins", [0, 2, 125, 128])
def test_more_or_fewer_bins_than_kaldi_has(bins):
    with pytest.raises(ValueError, match=f"num_mel_bins is {bins}: .* 3 to 124 bins"):
        Fbank(FbankConfig(num_mel_bins=bins))


def test_unknown_or_unsuitable_backend():
    with pytest.raises(ValueError, match="'torchaudio' is none of"):
        Fbank(FbankConfig(backend="torchaudio"))
    with pytest.raises(ValueError, match="on the CPU only, not on cuda"):
        Fbank(FbankConfig(backend="kaldi-native-fbank", device="cuda"))


def test_without_kaldifeat_the_other_takes_over_and_says_so(monkeypatch, caplog):
    samples = babble(8000, seed=5)
    usual = extract(samples)
    monkeypatch.setitem(sys.modules, "kaldifeat", None)
    monkeypatch.setattr(features, "choose_backend", choose_backend.__wrapped__)
    with caplog.at_level("INFO"):
        fbank = Fbank()
    assert fbank.backend == "kaldi-native-fbank"
    assert [r.message for r in caplog.records] == [
        "kaldifeat is not installed: kaldi-native-fbank gives the same features on the CPU"
    ]
    np.testing.assert_allclose(fbank.extract(samples.astype(np.float32), 16000), usual, atol=5e-3)
    with pytest.raises(ValueError, match="kaldifeat is not installed"):
        Fbank(FbankConfig(backend="kaldifeat"))


@pytest.mark.parametrize("config", [FbankConfig(), NATIVE])
def test_can_be_sent_to_another_process_and_written_to_a_file(config, tmp_path):
    samples = babble(8000, seed=6).astype(np.float32)
    fbank = Fbank(config)
    expected = fbank.extract(samples, 16000)
    assert np.array_equal(pickle.loads(pickle.dumps(fbank)).extract(samples, 16000), expected)
    fbank.to_yaml(tmp_path / "fbank.yaml")
    again = lhotse.FeatureExtractor.from_yaml(tmp_path / "fbank.yaml")
    assert type(again) is Fbank and again.config == config


def test_features_mix_as_signals_add_up():
    speech, noise = babble(16000, seed=7), babble(16000, seed=8)[::-1].copy()
    mixed = Fbank.mix(extract(speech), extract(noise), 0.25)
    together = extract(speech + 0.5 * noise)  # a quarter of the energy
    assert np.abs(mixed - together).mean() < 0.4
    energy, energy_of_double = (Fbank.compute_energy(extract(x)) for x in (speech, 2 * speech))
    assert energy_of_double == pytest.approx(4 * energy, rel=1e-3)


def test_normalised_bins_have_mean_0_and_variance_1():
    normalised = normalise(torch.randn(200, 80) * torch.linspace(0.5, 4, 80) - 7)
    torch.testing.assert_close(normalised.mean(0), torch.zeros(80), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalised.std(0), torch.ones(80), atol=1e-4, rtol=0)


def test_a_dead_band_is_not_blown_up():
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
    for normalised in (normalise_batch(batch, torch.tensor(lens)), UtteranceNorm()(batch, segments)):
        for row, utterance in zip(normalised, utterances):
            assert torch.equal(row[: len(utterance)], normalise(utterance))  # each is reduced by itself: one shape
            assert not row[len(utterance) :].any()


def test_norm_without_segments_takes_whole_rows():
    batch = torch.randn(2, 30, 80)
    assert torch.equal(UtteranceNorm()(batch), normalise_batch(batch, [30, 30]))  # rows of one shape


@pytest.mark.parametrize("lens", [[31, 5], [30]])
def test_lens_that_do_not_fit(lens):
    with pytest.raises(ValueError, match=r"do not fit features \(2, 30, 80\)"):
        normalise_batch(torch.randn(2, 30, 80), lens)
