"""sherpa-onnx's features against what sherpa-onnx 2.0.1 computes, and against the definition in float64.

tests/data/sherpa_features.npz holds every tenth frame of its features of the first 80050 samples of jfk.flac, with 80
and 128 bins, read by tests/formats/sherpa_probe.py.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.frontend.audio import read_audio
from hainan_k2.frontend.sherpa_mel import normalise_by_sherpa, sherpa_mel
from hainan_k2.frontend.spec import FeatureSpec

DATA = Path(__file__).parents[1] / "data"


@pytest.mark.parametrize("bins", [80, 128])
def test_the_features_of_sherpa_onnx(bins):
    theirs = np.load(DATA / "sherpa_features.npz")[f"features_{bins}"]
    features = FeatureSpec("sherpa-onnx", bins).compute(read_audio(DATA / "jfk.flac")[:80050])
    assert features.shape == (500, bins) and features.dtype == torch.float32
    np.testing.assert_allclose(features[::10].numpy(), theirs, atol=1e-4)


def hertz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15.0, mel * 200.0 / 3.0, 1000.0 * 6.4 ** ((mel - 15.0) / 27.0))


def by_definition(samples: np.ndarray, bins: int) -> np.ndarray:
    """Features (T, F) in float64, by a Fourier sum for each frequency."""
    mirrored = np.concatenate([samples[:120][::-1], samples, samples[-320:][::-1]])
    frames = np.stack([mirrored[160 * t : 160 * t + 400] for t in range((len(samples) + 80) // 160)])
    emphasised = frames - 0.97 * np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85
    waves = np.exp(-2j * np.pi * np.outer(np.arange(400), np.arange(257)) / 512)
    power = np.abs(emphasised * window @ waves) ** 2
    left, centre, right = (
        hertz(np.linspace(0.0, 15.0 + 27.0 * np.log(7.6) / np.log(6.4), bins + 2))[i : bins + i] for i in range(3)
    )
    frequencies = np.linspace(0.0, 8000.0, 257)[:, None]
    rise, fall = (frequencies - left) / (centre - left), (right - frequencies) / (right - centre)
    return np.log(power @ (np.maximum(0.0, np.minimum(rise, fall)) * 2.0 / (right - left)) + 2.0**-24)


@settings(max_examples=25, deadline=None)
@given(st.integers(400, 4000), st.sampled_from([3, 80, 128, 188]))
def test_the_definition(size, bins):
    samples = 0.1 * np.random.default_rng(size).standard_normal(size).astype(np.float32)
    features = sherpa_mel(torch.from_numpy(samples), bins).numpy()
    np.testing.assert_allclose(features, by_definition(samples.astype(np.float64), bins), atol=2e-3)


def test_silence_has_the_level_of_the_guard():
    assert sherpa_mel(torch.zeros(1600)).unique().tolist() == pytest.approx([np.log(2.0**-24)])
    assert FeatureSpec("sherpa-onnx").compute(np.zeros(1600)).abs().max() < 0.2  # rounding, over 0 plus 1e-5


def test_the_variance_is_over_all_frames():
    assert normalise_by_sherpa(torch.tensor([[1.0], [3.0]])).flatten().tolist() == pytest.approx([-1.0, 1.0], abs=1e-4)
    assert torch.equal(normalise_by_sherpa(torch.randn(1, 80)), torch.zeros(1, 80))
