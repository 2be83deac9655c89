"""Long audio in windows: where it is cut, and that the kept frames are one encoder output for any search."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.bench.decode import random_model
from hainan_k2.frontend.spec import FeatureSpec
from hainan_k2.inference.window_sizes import WindowConfig, Windows
from hainan_k2.inference.windows import FRAME, cut, encode_audio
from hainan_k2.search import METHODS, SearchConfig
from tests.data.corpus import babble

FBANK = FeatureSpec()


@functools.cache
def model():
    return random_model("tiny", 20)


def ragged(samples, seed):
    """The samples in blocks of 0 to 3000."""
    rng = np.random.default_rng(seed)
    places = np.cumsum(rng.integers(0, 3000, 2 + len(samples) // 1000))
    return np.split(samples, places[places < len(samples)])


windowings = st.builds(Windows, *[st.integers(1, 6)] * 4)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60 * FRAME), windowings, st.integers(0, 99))
def test_every_frame_is_kept_once_with_its_context(length, windows, seed):
    samples = np.arange(length)
    parts_cut = list(cut(ragged(samples, seed), windows))
    kept = 0
    for window in parts_cut:
        first = kept - window.left  # frame at which it begins
        assert window.input[0] == first * FRAME and (np.diff(window.input) == 1).all()
        assert window.left == min(kept, windows.left)
        if window is parts_cut[-1]:
            assert window.keep is None and window.input[-1] == length - 1
        else:
            assert len(window.input) == (window.left + window.keep + windows.right) * FRAME
            kept += window.keep
    assert len(parts_cut) == 1 if length <= windows.at_once * FRAME else len(parts_cut) > 1
    assert all(
        len(a.input) <= (windows.left + max(windows.first, windows.hop) + windows.right) * FRAME for a in parts_cut[:-1]
    )
    again = list(cut([samples], windows))
    assert [(w.left, w.keep, len(w.input)) for w in again] == [(w.left, w.keep, len(w.input)) for w in parts_cut]


@pytest.mark.parametrize("frames", [1.0, 9.4, 12.0])
def test_what_fits_into_a_window_is_encoded_as_without_windows(frames):
    samples = babble(round(frames * FRAME), seed=1).astype(np.float32)
    encoded, lens = encode_audio(model(), FBANK, ragged(samples, 0), Windows(9, 6, 3, 3))
    features = FBANK.compute(samples)[None]
    with torch.no_grad():
        whole, whole_lens = model().encoder(features, torch.tensor([features.shape[1]]))
    assert torch.equal(encoded, whole) and torch.equal(lens, whole_lens)  # one window: one shape


@settings(max_examples=8, deadline=None)
@given(st.integers(13 * FRAME, 60 * FRAME), st.integers(0, 99))
def test_as_many_frames_as_the_whole_has(length, seed):
    samples = babble(length, seed).astype(np.float32)
    encoded, lens = encode_audio(model(), FBANK, ragged(samples, seed), Windows(9, 6, 3, 3))
    frames = -(-((length + 80) // 160) // 8)
    assert encoded.shape[1] == int(lens) == frames
    other, _ = encode_audio(model(), FBANK, [samples], Windows(9, 6, 3, 3))
    assert torch.equal(encoded, other)  # however the samples come, the windows are the same


class Local(torch.nn.Module):
    """An encoder whose frames know nothing but their own samples' features: seams cannot be seen in its output."""

    def __init__(self, encoder_dim):
        super().__init__()
        self.out = torch.nn.Linear(80, encoder_dim)

    def forward(self, features, lens):
        whole = torch.nn.functional.pad(features, (0, 0, 0, -features.shape[1] % 8))
        return self.out(whole.view(len(whole), -1, 8, 80).mean(2)), (lens + 7) // 8


class Unnormalised(FeatureSpec):
    normalised = False


@pytest.mark.parametrize("method", ["ar-greedy", "nar-greedy", "sar"])
def test_seams_do_not_matter_to_an_encoder_without_context(method):
    samples = babble(80 * FRAME + 17, seed=5).astype(np.float32)
    talker = random_model("tiny", 20)
    talker.encoder = Local(64)
    talker.eval()
    whole = encode_audio(talker, Unnormalised(), [samples], WindowConfig(30.0, 1.0).windows())
    parts = encode_audio(talker, Unnormalised(), [samples], Windows(9, 6, 3, 3))
    torch.testing.assert_close(parts, whole, atol=1e-4, rtol=1e-4)
    a, b = (METHODS[method].function(talker, *encoded, SearchConfig())[0] for encoded in (parts, whole))
    assert [(t.id, t.frame, t.duration) for t in a.tokens] == [(t.id, t.frame, t.duration) for t in b.tokens]
    assert a.tokens


def test_impossible_windows():
    with pytest.raises(ValueError, match="leaves nothing between two contexts"):
        WindowConfig(8.0, 4.0)
    with pytest.raises(ValueError, match="context is 0.0: it must be at least 0.08"):
        WindowConfig(8.0, 0.0)
    with pytest.raises(ValueError, match="at least 1 encoder frame"):
        Windows(1, 0, 1, 1)
    with pytest.raises(ValueError, match="no samples"):
        encode_audio(model(), FBANK, [], Windows(9, 6, 3, 3))
