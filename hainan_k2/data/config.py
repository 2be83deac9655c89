"""DataConfig: the options of batches and of augmentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from hainan_k2.config import check_options, option


class Part(NamedTuple):
    """Part number `rank` of the batches, which `size` processes share."""

    rank: int = 0
    size: int = 1


WHOLE = Part()


@dataclass(frozen=True)
class DataConfig:
    """How batches are made of cuts. Raises ValueError for values out of bounds.

    >>> DataConfig(max_duration=100.0).num_workers
    2
    """

    max_duration: float = option(200.0, "seconds of audio per batch, padding included", above=0)
    num_buckets: int = option(30, "groups of like duration that batches are drawn from", at_least=1)
    num_workers: int = option(2, "processes that read features; 0 reads in the main one", at_least=0, at_most=1000)
    shuffle: bool = option(True, "draw training batches in random order")
    shuffle_buffer: int = option(20000, "cuts held in memory to draw from", at_least=1)
    min_duration: float = option(0.1, "shortest training cut in seconds", at_least=0)
    max_cut_duration: float = option(30.0, "longest training cut in seconds", above=0)
    spec_augment: bool = option(True, "mask and warp training features, but not stored encoder output")
    time_warp: int = option(80, "SpecAugment: frames that a point in time may move by", at_least=0)
    freq_masks: int = option(2, "SpecAugment: number of frequency masks", at_least=0, at_most=1000)
    freq_width: int = option(27, "SpecAugment: bins of the widest frequency mask", at_least=0)
    time_masks: int = option(10, "SpecAugment: number of time masks", at_least=0, at_most=1000)
    time_width: int = option(100, "SpecAugment: frames of the widest time mask", at_least=0)
    time_fraction: float = option(
        0.15, "SpecAugment: most of an utterance that time masks cover", at_least=0, at_most=1
    )
    spec_prob: float = option(0.9, "SpecAugment: probability of touching an utterance", at_least=0, at_most=1)
    wave_augment: bool = option(False, "rooms, noise and narrow bands on training audio; for cuts without features")
    noise_dir: str = option("", "wave_augment: folder of audio that noise is taken from as well; empty: all synthetic")
    noise_cuts: str = option("", "cut manifest of noise to mix into training cuts; empty for none")
    noise_snr: tuple[float, ...] = option(
        (10.0, 20.0), "lowest and highest signal-to-noise ratio in dB", at_least=-100, at_most=100
    )
    noise_prob: float = option(0.5, "probability of mixing noise into an utterance", at_least=0, at_most=1)
    rir_recordings: str = option(
        "", "manifest of room impulse responses for training audio, for cuts without features; empty for none"
    )
    rir_prob: float = option(0.5, "probability of convolving an utterance with a room response", at_least=0, at_most=1)

    def __post_init__(self) -> None:
        check_options(self)
        if self.min_duration >= self.max_cut_duration:
            raise ValueError(f"min_duration {self.min_duration} must be below max_cut_duration {self.max_cut_duration}")
        if len(self.noise_snr) != 2 or self.noise_snr[0] > self.noise_snr[1]:
            raise ValueError(f"noise_snr is {self.noise_snr}: a pair in ascending order")
