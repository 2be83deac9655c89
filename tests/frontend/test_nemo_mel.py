"""NeMo's features against what NeMo 3.0 and transformers 5.24 compute, and against the definition in float64.

tests/data/nemo_features.npz holds every fifth frame of their features of two spans of jfk.flac, normalised: 128 bins of
NeMo's preprocessor, 80 bins of transformers' ParakeetFeatureExtractor.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.frontend.audio import read_audio
from hainan_k2.frontend.mel_filters import slaney_filters
from hainan_k2.frontend.nemo_mel import nemo_mel
from hainan_k2.frontend.nemo_options import nemo_options, transformers_options
from hainan_k2.frontend.spec import FeatureSpec
from tests.data.corpus import babble

DATA = Path(__file__).parents[1] / "data"
CPU = Path("/proc/cpuinfo")


@pytest.mark.parametrize("source, bins", [("nemo", 128), ("parakeet", 80)])
@pytest.mark.parametrize("clip", [0, 1])
def test_the_features_of_nemo_and_transformers(source, bins, clip):
    """In the lowest bins, whose energy is a millionth of the frame's, their values differ from float64 by up to 4e-4:
    that is the rounding of a Fourier transform in float32. The file was made on an AMD processor, where torch 2 rounds
    in the same way and all values agree to 4e-6. MKL's kernels for Intel round otherwise, and so do those that
    hainan_k2 chooses for torch 1.13 on AMD."""
    theirs = np.load(DATA / "nemo_features.npz")
    start, end = theirs[f"{source}/spans"][clip]
    features = FeatureSpec("nemo", bins).compute(read_audio(DATA / "jfk.flac")[start:end])
    assert len(features) == theirs[f"{source}/lens"][clip]
    difference = np.abs(features[::5].numpy() - theirs[f"{source}/features_{clip}"])
    if torch.__version__ >= "2" and CPU.is_file() and "AuthenticAMD" in CPU.read_text():
        assert difference.max() < 1e-4
    assert difference.max() < 5e-4 and np.mean(difference > 1e-4) < 1e-3
    assert np.sqrt(np.mean(difference**2)) < 1e-5


def by_definition(samples: np.ndarray, bins: int, window: str, preemphasis: float) -> np.ndarray:
    """Features (T, F) in float64, by a Fourier sum for each frequency."""
    emphasised = samples - preemphasis * np.concatenate([[0.0], samples[:-1]])
    padded = np.concatenate([np.zeros(200), emphasised, np.zeros(400)])
    a, b = {"hann": (0.5, 0.5), "hamming": (0.54, 0.46)}[window]
    weights = a - b * np.cos(2 * np.pi * np.arange(400) / 399)
    waves = np.exp(-2j * np.pi * np.outer(np.arange(400), np.arange(257)) / 512)
    frames = np.stack([padded[160 * t : 160 * t + 400] * weights for t in range(len(samples) // 160)])
    return np.log(np.abs(frames @ waves) ** 2 @ slaney_filters(bins, 512).double().numpy().T + 2.0**-24)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(400, 4000),
    st.sampled_from([10, 80, 128]),
    st.sampled_from(["hann", "hamming"]),
    st.sampled_from([0.0, 0.5, 0.97]),
)
def test_the_definition(size, bins, window, preemphasis):
    samples = 0.1 * np.random.default_rng(size).standard_normal(size).astype(np.float32)
    features = nemo_mel(torch.from_numpy(samples), bins, window, preemphasis)
    expected = by_definition(samples.astype(np.float64), bins, window, preemphasis)
    assert features.shape == (size // 160, bins) and features.dtype == torch.float32
    np.testing.assert_allclose(features.numpy(), expected, atol=2e-3)


def test_silence_has_the_level_of_the_guard():
    assert nemo_mel(torch.zeros(1600)).unique().tolist() == pytest.approx([np.log(2.0**-24)])
    assert FeatureSpec("nemo").compute(np.zeros(1600)).abs().max() < 0.2  # rounding, over a deviation of 0 plus 1e-5


def test_without_normalisation():
    samples = torch.from_numpy(babble(8000, seed=1).astype(np.float32))
    spec = FeatureSpec("nemo", 128, "hamming", 0.9, per_feature=False)
    assert torch.equal(spec.compute(samples), nemo_mel(samples, 128, "hamming", 0.9)) and not spec.normalised


def test_filters_are_those_of_librosa():
    """The largest weights, as librosa.filters.mel(sr=16000, n_fft=512, n_mels=128) has them; area 1 per Hz."""
    filters = slaney_filters(128, 512)
    assert filters.shape == (128, 257) and (filters.sum(1) > 0).all()
    assert filters[0].nonzero().flatten().tolist() == [1] and float(filters[0, 1]) == pytest.approx(0.02831, abs=1e-4)
    wide = slaney_filters(80, 512)[-1]
    assert float(wide.sum() * 16000 / 512) == pytest.approx(1.0, abs=0.01)


NEMO = {
    "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
    "sample_rate": 16000,
    "normalize": "per_feature",
    "window_size": 0.025,
    "window_stride": 0.01,
    "window": "hann",
    "features": 128,
    "n_fft": 512,
    "log": True,
    "frame_splicing": 1,
    "dither": 1e-5,
    "pad_to": 0,
    "pad_value": 0.0,
}
PARAKEET = {
    "feature_extractor_type": "ParakeetFeatureExtractor",
    "feature_size": 80,
    "hop_length": 160,
    "n_fft": 512,
    "padding_side": "right",
    "padding_value": 0.0,
    "preemphasis": 0.97,
    "return_attention_mask": True,
    "sampling_rate": 16000,
    "win_length": 400,
}


def test_options_of_nemo_and_transformers():
    ours = {"features": "nemo", "nemo_window": "hann", "nemo_preemphasis": 0.97, "nemo_normalise": True}
    assert nemo_options(NEMO, "x.yaml") == {**ours, "num_mel_bins": 128}
    assert transformers_options(PARAKEET, "x.json") == {**ours, "num_mel_bins": 80}
    in_samples = {**NEMO, "window_size": None, "n_window_size": 400}
    others = {**in_samples, "normalize": "NA", "window": "hamming", "preemph": None}
    assert nemo_options(others, "x.yaml") == {
        "features": "nemo",
        "num_mel_bins": 128,
        "nemo_window": "hamming",
        "nemo_preemphasis": 0.0,
        "nemo_normalise": False,
    }


@pytest.mark.parametrize(
    "change, message",
    [
        ({"window_size": 0.02}, "window_size 0.02 are not supported: it must be 0.025"),
        ({"n_window_size": 320}, "window_size 0.02 are not supported"),
        ({"window_stride": 0.0125}, "window_stride 0.0125"),
        ({"sample_rate": 8000}, "sample_rate 8000 are not supported: it must be 16000"),
        ({"n_fft": 1024}, "n_fft 1024"),
        ({"window": "blackman"}, "window 'blackman' are not supported: it must be hann or hamming"),
        ({"window": ["hann"]}, "window "),
        ({"normalize": "all_features"}, "normalize 'all_features'"),
        ({"normalize": {"fixed_mean": [0.0]}}, "normalize {"),
        ({"features": 0}, "the number of mel bins 0"),
        ({"features": "128"}, "the number of mel bins '128'"),
        ({"features": 10**9}, "the number of mel bins 1000000000"),
        ({"preemph": 1.5}, "the pre-emphasis 1.5"),
        ({"log": False}, "log False"),
        ({"log_zero_guard_type": "clamp"}, "log_zero_guard_type 'clamp'"),
        ({"log_zero_guard_value": 1e-5}, "log_zero_guard_value 1e-05"),
        ({"frame_splicing": 3}, "frame_splicing 3"),
        ({"exact_pad": True}, "exact_pad True"),
        ({"mag_power": 1.0}, "mag_power 1.0"),
        ({"mel_norm": None}, "mel_norm None"),
        ({"lowfreq": 20}, "lowfreq 20"),
        ({"highfreq": 7600}, "highfreq 7600"),
        ({"trim": 1}, "feature option 'trim' is not supported"),
    ],
)
def test_options_that_are_not_supported_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match="^x.yaml: ") as error:
        nemo_options({**NEMO, **change}, "x.yaml")
    assert message in str(error.value)


def test_nemos_default_window_is_not_supported():
    with pytest.raises(ValueError, match="window_size 0.02"):
        nemo_options({name: value for name, value in NEMO.items() if name != "window_size"}, "x.yaml")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"win_length": 512}, "win_length 512"),
        ({"feature_extractor_type": "WhisperFeatureExtractor"}, "feature_extractor_type 'WhisperFeatureExtractor'"),
        ({"do_normalize": False}, "feature option 'do_normalize'"),
        ({"sampling_rate": True}, "sampling_rate True"),
        ({"feature_size": None}, "the number of mel bins None"),
    ],
)
def test_options_of_transformers_that_are_not_supported(change, message):
    with pytest.raises(ValueError, match="^x.json: ") as error:
        transformers_options({**PARAKEET, **change}, "x.json")
    assert message in str(error.value)
