import numpy as np
import pytest
import scipy.signal
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.frontend.audio import decode_audio, ratio, read_audio, resample, resample_blocks
from tests.data.corpus import babble


def sine(rate: int, seconds: float = 1.0, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)


@pytest.mark.parametrize(
    "name, subtype",
    [
        ("a.wav", "PCM_16"),
        ("a.wav", "PCM_24"),
        ("a.wav", "FLOAT"),
        ("a.wav", "ULAW"),
        ("a.flac", "PCM_16"),
        ("a.ogg", "VORBIS"),
        ("a.mp3", "MPEG_LAYER_III"),
        ("a.aiff", "PCM_16"),
    ],
)
@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_format_rate_and_channel_count(tmp_path, name, subtype, rate, channels):
    path = tmp_path / name
    soundfile.write(path, np.stack([sine(rate)] * channels, axis=1), rate, subtype=subtype)
    samples = read_audio(path)
    assert samples.dtype == np.float32 and samples.ndim == 1
    assert abs(len(samples) - 16000) <= (2400 if name == "a.mp3" else 1)  # MP3 comes in whole frames
    middle = samples[4000:12000]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(8000)))
    assert 2 * np.argmax(spectrum) == 440
    assert np.std(middle) == pytest.approx(0.5 / np.sqrt(2), rel=0.03)


def test_channels_are_averaged(tmp_path):
    left, right = sine(16000), sine(16000, hertz=700)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav"), (left + right) / 2, atol=1e-6)


def test_resampling_removes_frequencies_above_the_lower_rate():
    mixed = sine(16000) + sine(16000, hertz=6000)
    np.testing.assert_allclose(resample(mixed, 16000, 8000)[500:-500], sine(8000)[500:-500], atol=0.01)


@pytest.mark.parametrize("rates", [(0, 16000), (16000, 0), (-8000, 16000)])
def test_impossible_rates(rates):
    with pytest.raises(ValueError, match="rates are at least 1"):
        resample(sine(16000), *rates)


@pytest.mark.parametrize(
    "rate", [8000, 11025, 12000, 16129, 22050, 32000, 44100, 47999, 48000, 88200, 96000, 176400, 192000, 352800, 384000]
)
def test_usual_rates_are_resampled_exactly(rate):
    up, down = ratio(rate, 16000)
    assert up * rate == down * 16000 and down <= 48000


@pytest.mark.parametrize("rate", [48001, 96001, 200003, 383999, 384000])
def test_odd_rates_are_resampled_nearly_and_cheaply(rate):
    up, down = ratio(rate, 16000)
    assert abs(up * rate / (down * 16000) - 1) < 2.1e-5 and down <= 48000
    resampled = resample(sine(rate).astype(np.float32), rate, 16000)
    assert abs(len(resampled) - 16000) <= 1
    np.testing.assert_allclose(resampled[500:-500], sine(16000)[500 : len(resampled) - 500], atol=0.03)


def test_the_resampling_filter_is_made_once(monkeypatch):
    made = []
    make = scipy.signal.firwin
    monkeypatch.setattr(scipy.signal, "firwin", lambda *args, **kwargs: made.append(args) or make(*args, **kwargs))
    blocks = list(resample_blocks([np.zeros(100_000, np.float32)] * 8, 44101, 16000))
    assert len(blocks) > 2 and made == [(2 * 10 * 44101 + 1, 1 / 44101)]
    whole = scipy.signal.resample_poly(sine(44100).astype(np.float32), 160, 441)
    np.testing.assert_allclose(resample(sine(44100).astype(np.float32), 44100, 16000), whole, atol=1e-6)


def damaged(tmp_path, name, keep, **options):
    path = tmp_path / name
    soundfile.write(path, babble(32000, seed=1), 16000, **options)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    return path


@pytest.mark.parametrize("name, options", [("a.flac", {}), ("a.wav", {}), ("a.wav", {"subtype": "FLOAT"})])
@pytest.mark.parametrize("keep", [0.2, 0.5, 0.99])
def test_truncated(tmp_path, name, options, keep):
    path = damaged(tmp_path, name, keep, **options)
    with pytest.raises(ValueError, match=f"{path}: truncated"):
        decode_audio(path)


def test_damaged_in_the_middle(tmp_path):
    path = damaged(tmp_path, "a.flac", 1.0)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 3000] = bytes(3000)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{path}: truncated or damaged: the 2.00 s in its header do not all decode"):
        decode_audio(path)


def test_wav_without_a_length_is_read(tmp_path):
    path = damaged(tmp_path, "a.wav", 1.0)
    content = bytearray(path.read_bytes())
    content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert len(decode_audio(path)[0]) == 32000


def test_files_that_are_not_audio(tmp_path):
    for name, content, message in [
        ("missing.wav", None, "no such file"),
        ("zero.wav", b"", "not an audio file"),
        ("text.flac", b"hello there", "not an audio file"),
    ]:
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{path}: {message}"):
            decode_audio(path)
    with pytest.raises(ValueError, match="no such file"):
        decode_audio(tmp_path)


def test_empty_files_and_samples_that_are_not_finite(tmp_path):
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16000)
    with pytest.raises(ValueError, match="empty.wav: empty"):
        decode_audio(tmp_path / "empty.wav")
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan, np.inf]), 16000, subtype="FLOAT")
    with pytest.raises(ValueError, match="nan.wav: 2 of 3 samples are not finite"):
        decode_audio(tmp_path / "nan.wav")


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["a.wav", "a.flac", "a.ogg"]),
    st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=40)), max_size=4),
    st.floats(0, 1),
)
def test_bytes_changed_at_random_give_samples_or_a_value_error(tmp_path_factory, name, changes, keep):
    path = tmp_path_factory.mktemp("fuzz") / name
    soundfile.write(path, babble(3000, seed=2), 16000)
    content = bytearray(path.read_bytes())
    for position, replacement in changes:
        start = int(position * len(content))
        content[start : start + len(replacement)] = replacement
    path.write_bytes(content[: int(keep * len(content))])
    try:
        samples, rate = decode_audio(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert len(samples) and np.isfinite(samples).all() and rate > 0
