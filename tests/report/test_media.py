"""Sound and spectrogram as data URIs."""

import base64
import io

import matplotlib.image
import numpy as np
import pytest
import soundfile

from hainan_k2.report.media import GREYS, envelope, frequency_marks, grey_png, sound_uri, spectrogram
from tests.report.pages import JFK


def test_sound_can_be_decoded_again():
    samples, _ = soundfile.read(JFK, dtype="float32", frames=32000)
    kind, _, content = sound_uri(samples).partition(";base64,")
    assert kind in ("data:audio/ogg", "data:audio/flac")
    decoded, rate = soundfile.read(io.BytesIO(base64.b64decode(content)), dtype="float32")
    assert rate % 16000 == 0 and len(decoded) * 16000 == len(samples) * rate
    assert np.corrcoef(decoded[:: rate // 16000], samples)[0, 1] > 0.9


def test_spectrogram_of_a_tone():
    time = np.arange(16000 * 25) / 16000
    tiles = list(spectrogram(np.sin(2 * np.pi * 1000 * time).astype(np.float32)))
    assert [seconds for _, seconds in tiles] == pytest.approx([20.0, 5.0])
    for uri, seconds in tiles:
        image = matplotlib.image.imread(io.BytesIO(base64.b64decode(uri.partition("base64,")[2])))
        assert image.shape == (80, round(seconds * 100))
        rows = 79 - image.mean(axis=1).argmin()  # bin 28 of 80 between 20 and 7600 Hz holds 1000 Hz
        assert abs(rows - 28) <= 1 and image.min() == 0.0 and len(np.unique(image)) <= GREYS
    silent = list(spectrogram(np.zeros(4000, dtype=np.float32)))
    assert len(silent) == 1


def test_frequency_marks_are_where_tones_are_darkest():
    time = np.arange(16000) / 16000
    for kilohertz, share in frequency_marks():
        ((uri, _),) = spectrogram(np.sin(2 * np.pi * 1000 * kilohertz * time).astype(np.float32))
        image = matplotlib.image.imread(io.BytesIO(base64.b64decode(uri.partition("base64,")[2])))
        row = 79 - image.mean(axis=1).argmin()
        assert abs(row + 0.5 - 80 * share) <= 1.0, kilohertz


def test_envelope():
    samples = np.zeros(1000, dtype=np.float32)
    samples[[10, 330, 999]] = 0.1, -0.4, 0.2
    assert envelope(samples) == [25, 100, 0, 50]
    assert envelope(samples[640:800]) == [0] and envelope(samples[:0]) == []


def test_png_keeps_the_levels():
    levels = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    image = matplotlib.image.imread(io.BytesIO(grey_png(levels)))
    np.testing.assert_array_equal(np.round(image * 255), levels)
