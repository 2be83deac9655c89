"""Augmentation of samples: reproducible, of the requested strength, and of unchanged length."""

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.data.augment import generator
from hainan_k2.data.waves import (
    WaveConfig,
    add_noise,
    augment_waveform,
    coloured_noise,
    excerpt,
    low_pass,
    read_noises,
    reverberate,
    telephone,
)

RATE = 16000
ALWAYS = dict(reverb_prob=1.0, noise_prob=1.0, band_prob=1.0)


def speech(seconds=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(int(RATE * seconds))).astype(np.float32)


def power(samples, low, high):
    """Power between two frequencies."""
    spectrum = np.abs(np.fft.rfft(samples.astype(np.float64))) ** 2
    frequency = np.fft.rfftfreq(len(samples), 1 / RATE)
    return spectrum[(frequency >= low) & (frequency < high)].mean()


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(1, 3000),
    epoch=st.integers(0, 3),
    reverb=st.booleans(),
    noise=st.booleans(),
    band=st.booleans(),
    phone=st.booleans(),
    files=st.booleans(),
)
def test_equal_random_numbers_give_equal_samples(length, epoch, reverb, noise, band, phone, files):
    config = WaveConfig(reverb_prob=reverb, noise_prob=noise, band_prob=band, telephone_prob=phone)
    samples, noises = speech()[:length], [speech(0.1, 1), speech(0.02, 2)] if files else []
    before = samples.copy()
    first, again = (augment_waveform(samples, generator(7, epoch, "cut"), config, noises) for _ in range(2))
    assert first.shape == (length,) and first.dtype == np.float32 and np.isfinite(first).all()
    assert np.array_equal(first, again) and np.array_equal(samples, before)
    assert first is not samples
    if length > 100 and (reverb or noise or band):
        assert not np.array_equal(first, samples)
    if not (reverb or noise or band):
        assert np.array_equal(first, samples)


def test_epochs_and_cuts_differ():
    config, samples = WaveConfig(**ALWAYS), speech()
    made = [augment_waveform(samples, generator(0, *names), config) for names in ((0, "a"), (1, "a"), (0, "b"))]
    assert not np.allclose(made[0], made[1]) and not np.allclose(made[0], made[2])


def test_silence_stays_silent():
    for epoch in range(8):
        assert not augment_waveform(np.zeros(500), generator(0, epoch, "a"), WaveConfig(**ALWAYS)).any()


@settings(max_examples=25, deadline=None)
@given(snr=st.floats(-5, 40), slope=st.floats(0, 2))
def test_noise_has_the_requested_ratio(snr, slope):
    samples = speech(0.5)
    noise = add_noise(samples, coloured_noise(len(samples), slope, generator(0, 0, "n")), snr) - samples.astype(float)
    assert 10 * np.log10(np.mean(np.square(samples, dtype=float)) / np.mean(noise**2)) == pytest.approx(snr, abs=0.05)


def test_coloured_noise_has_the_requested_slope():
    for slope in (0.0, 1.0, 2.0):
        noise = coloured_noise(1 << 17, slope, generator(0, 0, "n"))
        octaves = 10 * np.log10(power(noise, 400, 800) / power(noise, 3200, 6400))
        assert octaves == pytest.approx(3 * slope * 10 * np.log10(2), abs=1.0)


def test_a_click_decays_by_60_db_in_the_reverberation_time():
    click = np.zeros(2 * RATE, np.float32)
    click[1000] = 1.0
    for rt60 in (0.2, 0.8):
        energy = reverberate(click, rt60, 0.0, generator(0, 0, "r")).astype(np.float64) ** 2
        assert energy[:1000].max() < 1e-12 and energy[1000] == energy.max()
        assert energy[1001:].sum() == pytest.approx(energy[1000], rel=1e-3)  # 0 dB
        assert energy.sum() == pytest.approx(1.0, rel=1e-3)  # the power is unchanged
        at = 1000 + int(0.1 * RATE * rt60)
        half = int(0.5 * RATE * rt60)
        blocks = [energy[i : i + 400].mean() for i in (at, at + half)]
        assert 10 * np.log10(blocks[0] / blocks[1]) == pytest.approx(30, abs=2)


def test_narrow_bands_are_narrow():
    samples = speech(4.0)
    for cutoff in (3400.0, 5500.0):
        narrow = low_pass(samples, cutoff)
        assert power(narrow, 100, cutoff - 500) == pytest.approx(power(samples, 100, cutoff - 500), rel=0.05)
        assert power(narrow, cutoff * 1.25, 8000) < 0.02 * power(samples, 100, cutoff)
    phone = telephone(samples)
    assert power(phone, 500, 3000) == pytest.approx(power(samples, 500, 3000), rel=0.1)
    assert power(phone, 0, 150) < 0.02 * power(phone, 500, 3000) > power(phone, 5000, 8000)


def test_telephones_round_to_255_values():
    assert len(np.unique(telephone(speech()))) <= 255


def test_an_excerpt_repeats_short_noise():
    noise = np.arange(5.0)
    for epoch in range(10):
        part = excerpt(noise, 12, generator(0, epoch, "e"))
        assert np.array_equal(part, (part[0] + np.arange(12)) % 5)
        part = excerpt(noise, 3, generator(0, epoch, "e"))
        assert np.array_equal(part, (part[0] + np.arange(3)) % 5)


@pytest.mark.parametrize(
    "options, words",
    [
        (dict(noise_prob=1.5), "noise_prob is 1.5"),
        (dict(snr=(3.0, 1.0)), "snr is"),
        (dict(rt60=(0.1,)), "rt60 is"),
        (dict(rt60=(0.0, 0.5)), "rt60"),
        (dict(cutoff=(3000.0, 8000.0)), "cutoff"),
    ],
)
def test_invalid_configurations(options, words):
    with pytest.raises(ValueError, match=words):
        WaveConfig(**options)


@pytest.mark.parametrize("shape", [(2, 100), (0,)])
def test_invalid_shapes(shape):
    with pytest.raises(ValueError, match="samples of shape"):
        augment_waveform(np.zeros(shape), generator(0, 0, "a"), WaveConfig())


def test_read_noises(tmp_path):
    with pytest.raises(ValueError, match="holds no audio"):
        read_noises(tmp_path)
    (tmp_path / "b").mkdir()
    soundfile.write(tmp_path / "b" / "music.wav", np.full(800, 0.5), 8000)
    soundfile.write(tmp_path / "a.flac", np.zeros(160), RATE)
    assert [len(noise) for noise in read_noises(tmp_path)] == [160, 1600]
