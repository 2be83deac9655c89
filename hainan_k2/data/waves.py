"""Augmentation of samples: rooms, noise and narrow bands, from random numbers that the caller gives.

With those of `augment.generator(seed, epoch, cut)` a cut of an epoch sounds the same in every process and after a
resumed training. Speed is `augment.perturb_speed`'s: here the number of samples never changes, and neither does
the time of any word.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy.signal import butter, fftconvolve, sosfilt

from hainan_k2.config import check_options, option
from hainan_k2.frontend.audio import SAMPLING_RATE, read_audio

AUDIO = (".flac", ".mp3", ".ogg", ".opus", ".wav")
TELEPHONE = (300.0, 3400.0)  # Hz
MU = 255.0  # of the mu-law that telephones compress with (ITU-T G.711)
STEPS = 127  # of its 8 bits, on either side of 0
EARLY = 0.005  # seconds from the direct sound to the first reflection
ORDER = 8  # of the Butterworth filters


@dataclass(frozen=True)
class WaveConfig:
    """How often each thing happens, and how strongly: pairs are bounds of uniform draws."""

    reverb_prob: float = option(0.3, "share of utterances in a reverberant room", at_least=0, at_most=1)
    rt60: tuple[float, ...] = option(
        (0.15, 0.8), "reverberation time in seconds: until 60 dB down", above=EARLY, at_most=10
    )
    direct_ratio: tuple[float, ...] = option(
        (0.0, 15.0), "direct to reverberant energy in dB", at_least=-100, at_most=100
    )
    noise_prob: float = option(0.5, "share of utterances with noise", at_least=0, at_most=1)
    snr: tuple[float, ...] = option((5.0, 30.0), "signal-to-noise ratio in dB", at_least=-100, at_most=100)
    band_prob: float = option(0.4, "share of utterances in a narrow band", at_least=0, at_most=1)
    cutoff: tuple[float, ...] = option(
        (3400.0, 5500.0), "upper end of the narrow band in Hz", above=0, below=SAMPLING_RATE // 2
    )
    telephone_prob: float = option(
        0.4, "share of the narrow bands that are a telephone's: 300-3400 Hz, 8 bit mu-law", at_least=0, at_most=1
    )

    def __post_init__(self):
        check_options(self)
        for name in ("rt60", "direct_ratio", "snr", "cutoff"):
            pair = getattr(self, name)
            if len(pair) != 2 or pair[0] > pair[1]:
                raise ValueError(f"{name} is {pair}: a pair in ascending order")


def augment_waveform(
    samples: np.ndarray, rng: random.Random, config: WaveConfig, noises: Sequence[np.ndarray] = ()
) -> np.ndarray:
    """Samples (N,) at 16 kHz -> a new float32 (N,): first the room, then noise, then the narrow band.

    Half of the noise is synthetic, if there are `noises` (each (M,) at 16 kHz, M >= 1); all of it, if not. Silence
    (all zeros) stays silent. ValueError if the samples are not of shape (N,) or none at all.
    """
    samples = np.array(samples, dtype=np.float32)
    if samples.ndim != 1 or not len(samples):
        raise ValueError(f"samples of shape {samples.shape}: there must be one channel, (N,), that is not empty")
    if rng.random() < config.reverb_prob:
        samples = reverberate(samples, rng.uniform(*config.rt60), rng.uniform(*config.direct_ratio), rng)
    if rng.random() < config.noise_prob:
        if noises and rng.random() < 0.5:
            noise = excerpt(rng.choice(noises), len(samples), rng)
        else:
            noise = coloured_noise(len(samples), rng.uniform(0, 2), rng)
        samples = add_noise(samples, noise, rng.uniform(*config.snr))
    if rng.random() < config.band_prob:
        if rng.random() < config.telephone_prob:
            samples = telephone(samples)
        else:
            samples = low_pass(samples, rng.uniform(*config.cutoff))
    return samples


class Waves:
    """`augment_waveform` with its default WaveConfig and the noises of a folder, which are read once."""

    def __init__(self, noise_dir: str = ""):
        self.noises = read_noises(noise_dir) if noise_dir else []

    def __call__(self, samples: np.ndarray, rng: random.Random) -> np.ndarray:
        return augment_waveform(samples, rng, WaveConfig(), self.noises)


def reverberate(samples: np.ndarray, rt60: float, direct_ratio: float, rng: random.Random) -> np.ndarray:
    """Samples (N,) in a room whose response is the direct sound and a tail of Gaussian noise that falls by 60 dB in
    `rt60` seconds (Polack's statistical model), `direct_ratio` dB below it. The power stays.
    """
    time = np.arange(round(rt60 * SAMPLING_RATE)) / SAMPLING_RATE
    tail = _numbers(rng).standard_normal(len(time)) * 10 ** (-3 * time / rt60) * (time >= EARLY)
    response = tail * 10 ** (-direct_ratio / 20) / np.sqrt(np.sum(tail**2))
    response[0] = 1.0
    wet = fftconvolve(samples, response)[: len(samples)]
    power = np.mean(wet**2)
    return (wet * np.sqrt(np.mean(samples**2) / power) if power > 0 else wet).astype(np.float32)


def coloured_noise(length: int, slope: float, rng: random.Random) -> np.ndarray:
    """(length,) Gaussian noise whose power falls as frequency^-slope: 0 is white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(_numbers(rng).standard_normal(length))
    bins = np.maximum(np.arange(len(spectrum)), 1)
    return np.fft.irfft(spectrum * bins ** (-slope / 2), length)


def excerpt(noise: np.ndarray, length: int, rng: random.Random) -> np.ndarray:
    """(length,) samples of `noise` (M,) from a random place on, from its beginning again where it ends."""
    start = rng.randrange(len(noise))
    return np.resize(np.roll(noise, -start) if length > len(noise) - start else noise[start : start + length], length)


def add_noise(samples: np.ndarray, noise: np.ndarray, snr: float) -> np.ndarray:
    """Samples (N,) with noise (N,) `snr` dB below them, by mean power; unchanged where either is silent."""
    signal, power = np.mean(np.square(samples, dtype=np.float64)), np.mean(np.square(noise, dtype=np.float64))
    if not signal > 0 or not power > 0:
        return samples
    return (samples + noise * np.sqrt(signal / power) * 10 ** (-snr / 20)).astype(np.float32)


def low_pass(samples: np.ndarray, cutoff: float) -> np.ndarray:
    """Samples (N,) without what is above `cutoff` Hz: as recorded at twice that rate."""
    return sosfilt(butter(ORDER, cutoff, "lowpass", fs=SAMPLING_RATE, output="sos"), samples).astype(np.float32)


def telephone(samples: np.ndarray) -> np.ndarray:
    """Samples (N,) as a telephone gives them: 300 to 3400 Hz, in 8 bits of mu-law."""
    narrow = sosfilt(_telephone_band(), samples)
    peak = np.max(np.abs(narrow), initial=0.0)
    if not peak > 0:
        return narrow.astype(np.float32)
    pressed = np.sign(narrow) * np.log1p(MU * np.abs(narrow) / peak) / np.log1p(MU)
    pressed = np.rint(pressed * STEPS) / STEPS
    return (np.sign(pressed) * np.expm1(np.abs(pressed) * np.log1p(MU)) / MU * peak).astype(np.float32)


@cache
def _telephone_band() -> np.ndarray:
    return butter(ORDER // 2, TELEPHONE, "bandpass", fs=SAMPLING_RATE, output="sos")


def read_noises(folder: str | Path) -> list[np.ndarray]:
    """Every audio file under a folder, in the order of their paths: (M,) at 16 kHz. ValueError if there is none."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in AUDIO)
    if not paths:
        raise ValueError(f"{folder} holds no audio ({', '.join(AUDIO)})")
    return [read_audio(path) for path in paths]


def _numbers(rng: random.Random) -> np.random.Generator:
    """numpy's random numbers, seeded by the caller's."""
    return np.random.default_rng(rng.getrandbits(64))
