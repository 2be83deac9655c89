"""Reproducible augmentation: every random choice follows from (seed, epoch, cut id), never from global state.

An utterance is augmented in the same way in every batch, order and worker process of an epoch, and a resumed training
augments as an uninterrupted one.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from lhotse import CutSet
from lhotse.dataset import CutMix

SPEED_FACTORS = (0.9, 1.1)  # beside 1.0, as in Kaldi's three-way speed perturbation


def generator(seed: int, epoch: int, name: str) -> random.Random:
    """The random numbers of one cut in one epoch, the same in every process."""
    return random.Random(f"{seed}/{epoch}/{name}")


@dataclass(frozen=True)
class SpecAugment:
    """SpecAugment (arXiv 1904.08779) of one utterance: a time warp, then masks of bins and of frames.

    Masks are 0, the mean of a normalised utterance. `time_warp` is limited to a quarter of the frames. Time masks cover
    at most `time_fraction` of the frames; their number is at most `time_masks`, and the number of masks of full width
    that this fraction has room for. With probability 1 - `prob` the utterance is unchanged.

    Raises ValueError for negative sizes, and for fractions outside [0, 1].

    >>> SpecAugment(prob=1.0)(torch.ones(200, 80), random.Random(0)).shape
    torch.Size([200, 80])
    """

    time_warp: int = 80
    freq_masks: int = 2
    freq_width: int = 27
    time_masks: int = 10
    time_width: int = 100
    time_fraction: float = 0.15
    prob: float = 0.9

    def __post_init__(self) -> None:
        for name in ("time_warp", "freq_masks", "freq_width", "time_masks", "time_width"):
            if getattr(self, name) < 0:
                raise ValueError(f"SpecAugment {name} is {getattr(self, name)}: 0 (off) or more")
        for name in ("time_fraction", "prob"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"SpecAugment {name} is {getattr(self, name)}: it lies in [0, 1]")

    def __call__(self, features: torch.Tensor, rng: random.Random) -> torch.Tensor:
        """(T, F) -> (T, F), a new tensor."""
        if rng.random() >= self.prob:
            return features.clone()
        features = warp_time(features, min(self.time_warp, len(features) // 4), rng)
        frames, bins = features.shape
        for _ in range(self.freq_masks):
            start, end = _span(bins, self.freq_width, rng)
            features[:, start:end] = 0.0
        budget = int(self.time_fraction * frames)
        spans = min(self.time_masks, math.ceil(budget / self.time_width)) if self.time_width else 0
        for _ in range(spans):
            start, end = _span(frames, min(self.time_width, budget // spans), rng)
            features[start:end] = 0.0
        return features


def warp_time(features: torch.Tensor, width: int, rng: random.Random) -> torch.Tensor:
    """Move a random frame of (T, F) by up to `width` frames: one side is stretched, the other is squeezed."""
    frames = len(features)
    if width < 1 or frames < 2 * width + 2:
        return features.clone()
    centre = rng.randint(width + 1, frames - width - 1)
    moved = centre + rng.randint(-width, width)
    position = torch.arange(frames, dtype=features.dtype, device=features.device) + 0.5
    before = position * (centre / moved)
    after = centre + (position - moved) * ((frames - centre) / (frames - moved))
    source = (torch.where(position < moved, before, after) - 0.5).clamp(0, frames - 1)
    left = source.long()
    weight = (source - left).unsqueeze(1)
    return torch.lerp(features[left], features[(left + 1).clamp(max=frames - 1)], weight)


def _span(length: int, width: int, rng: random.Random) -> tuple[int, int]:
    """The start and end of a random span of at most `width` positions in [0, length)."""
    size = rng.randint(0, min(width, length))
    start = rng.randint(0, length - size)
    return start, start + size


class NoiseMix:
    """Noise, at random signal-to-noise ratios, mixed into some of the cuts: lhotse's CutMix with given random numbers.

    Args:
      noise: cuts of noise, at least one.
      snr: lowest and highest signal-to-noise ratio in dB.
      prob: share of the cuts that get noise.
    Raises:
      ValueError: for no noise, noise of several channels, and values out of bounds.
    """

    def __init__(self, noise: CutSet, snr: tuple[float, float] = (10.0, 20.0), prob: float = 0.5):
        if not 0 <= prob <= 1 or len(snr) != 2 or snr[0] > snr[1]:
            raise ValueError(f"noise prob {prob} lies in [0, 1] and snr {snr} is a pair in ascending order")
        self.noise, self.snr, self.prob = noise.drop_supervisions().to_eager(), tuple(snr), prob
        if not len(self.noise):
            raise ValueError("the set of noise cuts is empty")
        for cut in self.noise:
            if cut.num_channels != 1:
                raise ValueError(f"noise cut {cut.id} has {cut.num_channels} channels: noise has one, as speech")

    def __call__(self, cuts: CutSet, rng: random.Random) -> CutSet:
        """The cuts with noise, of the same number, order, ids and durations."""
        return CutMix(
            self.noise, self.snr, self.prob, pad_to_longest=False, preserve_id=True, seed=rng, random_mix_offset=True
        )(cuts)


def perturb_speed(cuts: CutSet, factors: Sequence[float] = SPEED_FACTORS) -> CutSet:
    """The cuts, then copies at each speed, which changes their pitch too; the ids of copies end in _sp0.9 and so on."""
    perturbed = cuts
    for factor in factors:
        perturbed = perturbed + cuts.perturb_speed(factor)
    return perturbed
