import sys

import lhotse
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.frontend import fbank as module
from hainan_k2.frontend.fbank import fbank, has_kaldifeat
from hainan_k2.frontend.samples import MIN_SAMPLES, to_waveform
from tests.data.corpus import babble


@pytest.fixture
def without_kaldifeat(monkeypatch):
    """kaldifeat hidden: kaldi-native-fbank computes."""
    monkeypatch.setitem(sys.modules, "kaldifeat", None)
    monkeypatch.setattr(module, "has_kaldifeat", has_kaldifeat.__wrapped__)


def features_of(samples: np.ndarray, num_mel_bins: int = 80, compute=fbank) -> np.ndarray:
    return compute(to_waveform(samples), num_mel_bins).numpy()


@pytest.mark.parametrize("num_samples", [400, 559, 560, 4321, 16000, 40007])
@pytest.mark.parametrize("bins", [4, 80, 124])
def test_backends_and_lhotse_agree(num_samples, bins):
    pytest.importorskip("_kaldifeat")
    samples = babble(num_samples, seed=num_samples).astype(np.float32)
    reference = lhotse.Fbank(lhotse.FbankConfig(num_filters=bins)).extract(samples, 16000)
    for compute in (module._from_kaldifeat, module._from_native):
        np.testing.assert_allclose(features_of(samples, bins, compute), reference, atol=5e-3)


@settings(max_examples=40, deadline=None)
@given(st.integers(MIN_SAMPLES, 6000), st.sampled_from([fbank, module._from_native]))
def test_number_of_frames_is_the_one_that_lhotse_computes(num_samples, compute):
    shape = features_of(babble(num_samples, seed=0), compute=compute).shape
    assert shape == (lhotse.utils.compute_num_frames_from_samples(num_samples, 0.01, 16000), 80)


def test_digital_silence_is_finite():
    for compute in (fbank, module._from_native):
        assert np.isfinite(features_of(np.zeros(1600), compute=compute)).all()


def test_same_samples_same_features():
    samples = babble(16000, seed=3)
    assert np.array_equal(features_of(samples), features_of(samples))


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
        to_waveform(samples, rate)


@pytest.mark.parametrize("bins", [0, 2, 125, 128])
def test_more_or_fewer_bins_than_kaldi_has(bins):
    with pytest.raises(ValueError, match=f"num_mel_bins is {bins}: .* 3 to 124 bins"):
        fbank(torch.zeros(1600), bins)


def test_without_kaldifeat_the_other_takes_over_and_is_logged(without_kaldifeat, caplog):
    samples = babble(8000, seed=5)
    usual = features_of(samples, compute=module._from_kaldifeat if has_kaldifeat() else module._from_native)
    with caplog.at_level("INFO"):
        features = features_of(samples)
    assert [(r.name, r.message) for r in caplog.records] == [
        ("hainan_k2.frontend.fbank", "kaldifeat is not installed: kaldi-native-fbank gives the same features")
    ]
    assert np.array_equal(features, features_of(samples, compute=module._from_native))
    np.testing.assert_allclose(features, usual, atol=5e-3)
