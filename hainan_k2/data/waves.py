"""Augmentation of samples: reverberation, noise and narrow bands, with given random numbers.

With the random numbers of `augment.generator(seed, epoch, cut_id)` a cut is augmented in the same way in every process,
and after training is resumed. Nothing here changes the number of samples or the time of a word; `augment.perturb_speed`
does.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Union

import numpy as np

from hainan_k2.frontend.audio import SAMPLING_RATE, read_audio

AUDIO = (".flac", ".mp3", ".ogg", ".opus", ".wav")
TELEPHONE = (300.0, 3400.0)  # Hz
MU = 255.0  # mu-law companding (ITU-T G.711)
STEPS = 127  # quantisation steps of 8 bits on either side of 0
EARLY = 0.005  # seconds from the direct sound to the first reflection
ORDER = 8  # Butterworth filters


# The values that WaveConfig allows for its pairs, at least and at most.
BOUNDS = {
    "rt60": (EARLY + 1 / SAMPLING_RATE, 10.0),
    "direct_ratio": (-100.0, 100.0),
    "snr": (-100.0, 100.0),
    "cutoff": (1.0, SAMPLING_RATE / 2 - 1),
}


@dataclass(frozen=True)
class WaveConfig:
    """Probabilities and strengths of the augmentations. A strength is drawn uniformly between a pair of bounds.

    Args:
      reverb_prob: share of the utterances that get reverberation.
      rt60: reverberation time in seconds, until the level has fallen by 60 dB.
      direct_ratio: direct to reverberant energy in dB.
      noise_prob: share of the utterances that get noise.
      snr: signal-to-noise ratio in dB.
      band_prob: share of the utterances whose band is narrowed.
      cutoff: upper end of the narrow band in Hz.
      telephone_prob: share of the narrow bands that are a telephone's, 300-3400 Hz in 8 bit mu-law.
    Raises:
      ValueError: for shares outside [0, 1], and for pairs that do not ascend or are out of BOUNDS.
    """

    reverb_prob: float = 0.3
    rt60: tuple[float, float] = (0.15, 0.8)
    direct_ratio: tuple[float, float] = (0.0, 15.0)
    noise_prob: float = 0.5
    snr: tuple[float, float] = (5.0, 30.0)
    band_prob: float = 0.4
    cutoff: tuple[float, float] = (3400.0, 5500.0)
    telephone_prob: float = 0.4

    def __post_init__(self) -> None:
        for name in ("reverb_prob", "noise_prob", "band_prob", "telephone_prob"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it lies in [0, 1]")
        for name, (lowest, highest) in BOUNDS.items():
            pair = getattr(self, name)
            if len(pair) != 2 or not lowest <= pair[0] <= pair[1] <= highest:
                raise ValueError(f"{name} is {pair}: a pair in ascending order, from {lowest:g} to {highest:g}")


def augment_waveform(
    samples: np.ndarray, rng: random.Random, config: WaveConfig, noises: Sequence[np.ndarray] = ()
) -> np.ndarray:
    """Reverberation, then noise, then a narrow band, each with its probability.

    Args:
      samples: (N,) at 16 kHz, N >= 1. All zeros stay all zeros.
      rng: the random numbers; equal ones give equal results.
      noises: recordings of noise, each (M,) at 16 kHz, M >= 1. Half of the noise is synthetic; all of it if there are
        none.
    Returns:
      a new float32 (N,).
    Raises:
      ValueError: for samples of another shape.

    >>> augment_waveform(np.ones(16000), random.Random(0), WaveConfig()).shape
    (16000,)
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


class WaveAugment:
    """`augment_waveform` with the default WaveConfig, and with the noises of a folder, read once."""

    def __init__(self, noise_dir: str = ""):
        self.noises = read_noises(noise_dir) if noise_dir else []

    def __call__(self, samples: np.ndarray, rng: random.Random) -> np.ndarray:
        return augment_waveform(samples, rng, WaveConfig(), self.noises)


def reverberate(samples: np.ndarray, rt60: float, direct_ratio: float, rng: random.Random) -> np.ndarray:
    """Samples (N,) with the reverberation of a room, at the same mean power.

    The response is the direct sound and, `direct_ratio` dB below it, a tail of Gaussian noise that decays by 60 dB in
    `rt60` seconds (Polack's statistical model).
    """
    from scipy.signal import fftconvolve

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
    """(length,) samples of `noise` (M,) from a random position on; the noise is repeated where it ends."""
    start = rng.randrange(len(noise))
    return np.resize(np.roll(noise, -start) if length > len(noise) - start else noise[start : start + length], length)


def add_noise(samples: np.ndarray, noise: np.ndarray, snr: float) -> np.ndarray:
    """Samples (N,) plus noise (N,) at a signal-to-noise ratio of `snr` dB; unchanged where either is all zeros."""
    signal, power = np.mean(np.square(samples, dtype=np.float64)), np.mean(np.square(noise, dtype=np.float64))
    if not signal > 0 or not power > 0:
        return samples
    return (samples + noise * np.sqrt(signal / power) * 10 ** (-snr / 20)).astype(np.float32)


def low_pass(samples: np.ndarray, cutoff: float) -> np.ndarray:
    """Samples (N,) without frequencies above `cutoff` Hz."""
    from scipy.signal import butter, sosfilt

    return sosfilt(butter(ORDER, cutoff, "lowpass", fs=SAMPLING_RATE, output="sos"), samples).astype(np.float32)


def telephone(samples: np.ndarray) -> np.ndarray:
    """Samples (N,) as over a telephone: 300 to 3400 Hz, 8 bit mu-law."""
    from scipy.signal import sosfilt

    narrow = sosfilt(_telephone_band(), samples)
    peak = np.max(np.abs(narrow), initial=0.0)
    if not peak > 0:
        return narrow.astype(np.float32)
    compressed = np.sign(narrow) * np.log1p(MU * np.abs(narrow) / peak) / np.log1p(MU)
    compressed = np.rint(compressed * STEPS) / STEPS
    return (np.sign(compressed) * np.expm1(np.abs(compressed) * np.log1p(MU)) / MU * peak).astype(np.float32)


@cache
def _telephone_band() -> np.ndarray:
    from scipy.signal import butter

    return butter(ORDER // 2, TELEPHONE, "bandpass", fs=SAMPLING_RATE, output="sos")


def read_noises(folder: Union[str, Path]) -> list[np.ndarray]:
    """All audio files under a folder, ordered by path, each (M,) at 16 kHz. Raises ValueError if there is none."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in AUDIO)
    if not paths:
        raise ValueError(f"{folder} holds no audio ({', '.join(AUDIO)})")
    return [read_audio(path) for path in paths]


def _numbers(rng: random.Random) -> np.random.Generator:
    """A numpy generator seeded from `rng`."""
    return np.random.default_rng(rng.getrandbits(64))
