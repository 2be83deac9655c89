"""NeMo's features in windows, each normalised by its own statistics: computed or stored, whole or streamed."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.bench.decode import random_model
from hainan_k2.frontend.nemo_mel import nemo_mel
from hainan_k2.frontend.spec import FeatureSpec
from hainan_k2.inference.streaming import transcribe_stream
from hainan_k2.inference.window_sizes import StreamConfig, Windows
from hainan_k2.inference.windows import FRAME, encode_audio, encode_features
from hainan_k2.search import METHODS, SearchConfig
from tests.inference.test_windows import ragged

NEMO = FeatureSpec("nemo", 80)
WINDOWS = Windows(9, 6, 3, 3)


@functools.cache
def model():
    return random_model("tiny", 20)


def speech(length: int, seed: int) -> np.ndarray:
    """Noise (N,) in syllables, that gets louder by 30 dB."""
    samples = np.arange(length)
    level = 10 ** (1.5 * samples / length - 2) * (0.1 + np.sin(samples / 1500) ** 2)
    return (level * np.random.default_rng(seed).standard_normal(length)).astype(np.float32)


@settings(max_examples=8, deadline=None)
@given(st.integers(13 * FRAME, 60 * FRAME), st.integers(0, 99))
def test_as_many_frames_as_the_whole_has(length, seed):
    samples = speech(length, seed)
    encoded, lens = encode_audio(model(), NEMO, ragged(samples, seed), WINDOWS)
    assert encoded.shape[1] == int(lens) == -(-(length // 160) // 8)
    other, _ = encode_audio(model(), NEMO, [samples], WINDOWS)
    assert torch.equal(encoded, other)  # however the samples come, the windows are the same


def test_what_fits_into_a_window_is_encoded_as_without_windows():
    samples = speech(12 * FRAME, seed=1)
    encoded, _ = encode_audio(model(), NEMO, ragged(samples, 0), WINDOWS)
    features = NEMO.compute(samples)[None]
    with torch.no_grad():
        whole, _ = model().encoder(features, torch.tensor([features.shape[1]]))
    assert torch.equal(encoded, whole)


def test_the_statistics_are_those_of_the_window():
    """What comes before and after a window, and how loud it is, changes nothing in it."""
    samples = speech(60 * FRAME, seed=3)
    louder = samples.copy()
    louder[20 * FRAME :] *= 4.0
    quiet, loud = (encode_audio(model(), NEMO, [audio], WINDOWS)[0][0] for audio in (samples, louder))
    first, inside = slice(0, 15), slice(27, 60)  # kept of windows that end before, and begin after, the change
    assert torch.equal(loud[first], quiet[first])
    assert (loud[inside] - quiet[inside]).norm() < 0.05 * quiet[inside].norm()  # but for the guard of the logarithm
    assert (loud[15:27] - quiet[15:27]).norm() > 0.1 * quiet[15:27].norm()


def test_stored_features_are_normalised_in_the_same_windows():
    samples, windows = speech(150 * FRAME + 700, seed=4), Windows(40, 30, 10, 10)
    expected, lens = encode_audio(model(), NEMO, [samples], windows)
    stored = nemo_mel(torch.from_numpy(samples)).numpy()
    encoded, stored_lens = encode_features(model(), NEMO, stored, windows)
    assert torch.equal(lens, stored_lens) and (encoded - expected).norm() < 0.1 * expected.norm()
    with torch.no_grad():
        at_once, _ = model().encoder(NEMO.normalise(torch.from_numpy(stored))[None], torch.tensor([len(stored)]))
    assert (encoded - at_once).norm() > 2 * (encoded - expected).norm(), "windows should make a difference"


@pytest.mark.parametrize("method", ["ar-greedy", "nar-greedy"])
def test_a_stream_has_the_words_of_the_whole_recording(method):
    pieces = ["<blk>", *(("▁" if i % 5 else "") + chr(96 + i) for i in range(1, 20))]
    config, samples = (
        StreamConfig(hop=0.48, ahead=0.24, behind=0.8),
        speech(70 * FRAME + 99, seed=6),
    )
    updates = list(transcribe_stream(model(), NEMO, pieces, ragged(samples, 5), config, SearchConfig(), method))
    encoded, lens = encode_audio(model(), NEMO, [samples], config.windows())
    (whole,) = METHODS[method].function(model(), encoded, lens, SearchConfig())
    words = [word.text for update in updates for word in update.words]
    assert words == [word.text for word in whole.with_words(pieces).words] and len(words) > 3
