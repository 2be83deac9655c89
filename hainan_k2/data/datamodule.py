"""Cut manifests to batches, in an order that depends on (seed, epoch) alone, so that training resumes
exactly.

A loader is made for one epoch. Its sampler runs in the main process on metadata; workers only read and
compute the features of the batches they are handed, so their number changes nothing but speed.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Callable, Union

from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.dataset import DynamicBucketingSampler
from lhotse.dataset.sampling.dynamic_bucketing import estimate_duration_buckets
from lhotse.lazy import LazyMapper
from lhotse.serialization import deserialize_item, open_best
from torch.utils.data import DataLoader

from hainan_k2.config import check_options, option
from hainan_k2.data.augment import NoiseMix, SpecAugment, generator
from hainan_k2.data.compatibility import check_lhotse
from hainan_k2.data.dataset import SpeechDataset, check_cut, short_frames
from hainan_k2.data.waves import Waves
from hainan_k2.frontend.audio import SAMPLING_RATE
from hainan_k2.frontend.spec import FBANK, FeatureSpec

Cuts = Union[str, Path, CutSet]
CUTS_FOR_BUCKETS = 10000  # durations looked at to place the limits between buckets


@dataclass(frozen=True)
class DataConfig:
    """How batches are made of cuts."""

    max_duration: float = option(200.0, "seconds of audio per batch, padding included", above=0)
    num_buckets: int = option(30, "groups of like duration that batches are drawn from", at_least=1)
    num_workers: int = option(2, "processes that read features; 0 reads in the main one", at_least=0, at_most=1000)
    shuffle: bool = option(True, "draw training batches in random order")
    shuffle_buffer: int = option(20000, "cuts held in memory to draw from", at_least=1)
    min_duration: float = option(0.1, "shortest training cut in seconds", at_least=0)
    max_cut_duration: float = option(30.0, "longest training cut in seconds", above=0)
    spec_augment: bool = option(True, "mask and warp training features")
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

    def __post_init__(self):
        check_options(self)
        if self.min_duration >= self.max_cut_duration:
            raise ValueError(f"min_duration {self.min_duration} must be below max_cut_duration {self.max_cut_duration}")
        if len(self.noise_snr) != 2 or self.noise_snr[0] > self.noise_snr[1]:
            raise ValueError(f"noise_snr is {self.noise_snr}: a pair in ascending order")


def train_loader(
    cuts: Cuts,
    config: DataConfig,
    *,
    seed: int = 0,
    epoch: int = 1,
    skip_batches: int = 0,
    exclude: Collection[str] = (),
    spec: FeatureSpec = FBANK,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader:
    """The batches (see `SpeechDataset`) of one training epoch, without its first `skip_batches`, which are
    not read.

    Features stored with the cuts are read; cuts without them have theirs computed from the audio. Cuts
    outside the duration limits of `config`, or with an id in `exclude`, are left out and counted in the log.
    Of `world_size` ranks each gets every n-th batch. Raises ValueError for cuts that cannot be used, here or
    with their batch.
    """
    cuts = open_cuts(cuts)
    excluded = frozenset(exclude)

    def wanted(cut: Cut) -> bool:
        return config.min_duration <= cut.duration <= config.max_cut_duration and cut.id not in excluded

    # lhotse orders an epoch by seed + epoch: seeds that are neighbours would give each other's epochs.
    order_seed = generator(seed, 0, "order").getrandbits(40)
    sampler = _bucketing_sampler(
        cuts, wanted, config, shuffle=config.shuffle, seed=order_seed, rank=rank, world_size=world_size
    )
    sampler.set_epoch(epoch)
    spec_augment = SpecAugment(
        config.time_warp,
        config.freq_masks,
        config.freq_width,
        config.time_masks,
        config.time_width,
        config.time_fraction,
        config.spec_prob,
    )
    noise = None
    if config.noise_cuts:
        noise = NoiseMix(open_cuts(config.noise_cuts), config.noise_snr, config.noise_prob)
    dataset = SpeechDataset(
        spec,
        stored=has_features(cuts),
        seed=seed,
        epoch=epoch,
        spec_augment=spec_augment if config.spec_augment else None,
        noise=noise,
        waves=Waves(config.noise_dir) if config.wave_augment else None,
    )
    return _loader(dataset, EpochSampler(sampler, skip_batches), config)


def eval_loader(cuts: Cuts, config: DataConfig, *, spec: FeatureSpec = FBANK) -> DataLoader:
    """Every cut once, in a fixed order, without augmentation or limits, in batches like `train_loader`'s. Raises
    ValueError for a first cut that cannot be used; for others with their batch."""
    cuts = open_cuts(cuts)
    sampler = _bucketing_sampler(cuts, lambda cut: True, config, shuffle=False, seed=0, rank=0, world_size=1)
    stored = has_features(cuts)
    check_cut(next(iter(cuts)), stored, spec)
    return _loader(SpeechDataset(spec, stored=stored), EpochSampler(sampler), config)


@dataclass(frozen=True)
class CutSummary:
    """What there is to train on in a manifest and, by reason, the ids of the cuts that are left out."""

    kept: int
    seconds: float
    dropped: Mapping[str, tuple[str, ...]]

    @property
    def dropped_ids(self) -> frozenset[str]:
        """What to give `train_loader` as `exclude`."""
        return frozenset(name for names in self.dropped.values() for name in names)

    def __str__(self) -> str:
        parts = [f"{self.kept} cuts, {self.seconds / 3600:.2f} h to train on"]
        for reason, names in self.dropped.items():
            shown = " ".join(names[:5]) + (" ..." if len(names) > 5 else "")
            parts.append(f"{len(names)} left out, {reason}: {shown}")
        return "; ".join(parts)


def summarise_cuts(
    cuts: Cuts, config: DataConfig, fits: Callable[[int, str], bool] | None = None, *, spec: FeatureSpec = FBANK
) -> CutSummary:
    """Look at the metadata of every training cut once, before training.

    `fits(num_frames, text)` says whether the model can spell the text in so many frames of 10 ms; a cut that
    does not fit would have an infinite loss. Raises ValueError, naming the cut, for one that no loader could
    use.
    """
    kept, seconds, dropped, stored = 0, 0.0, defaultdict(list), None
    for cut in open_cuts(cuts):
        stored = cut.has_features if stored is None else stored
        check_cut(cut, stored, spec)
        if cut.duration < config.min_duration:
            dropped[f"shorter than {config.min_duration:g} s"].append(cut.id)
        elif cut.duration > config.max_cut_duration:
            dropped[f"longer than {config.max_cut_duration:g} s"].append(cut.id)
        elif fits is not None and not fits(short_frames(cut), cut.supervisions[0].text):
            dropped["too few frames for the text"].append(cut.id)
        else:
            kept, seconds = kept + 1, seconds + cut.duration
    return CutSummary(kept, seconds, {reason: tuple(names) for reason, names in dropped.items()})


def count_batches(loader: DataLoader) -> int:
    """Batches that a loader will give, counted on metadata without reading any (minutes for 1000 hours)."""
    return sum(1 for _ in loader.sampler)


def open_cuts(cuts: Cuts) -> CutSet:
    """A manifest, read while it is iterated over, of audio brought to 16 kHz; ValueError if there is none."""
    if not isinstance(cuts, CutSet):
        if not Path(cuts).is_file():
            raise ValueError(f"{cuts}: no such cut manifest (hainan-compute-features writes it)")
        cuts = StoredCuts(cuts)
    return CutSet(LazyMapper(cuts, _at_sampling_rate))


class StoredCuts:
    """The cuts of a .jsonl or .jsonl.gz, read anew by every iteration; ValueError names file and line of what is
    none."""

    def __init__(self, path: str | Path):
        self.path = path

    def __iter__(self) -> Iterator[Cut]:
        number = 0
        try:
            with open_best(self.path, "rb") as stream:
                for number, line in enumerate(stream, 1):
                    yield self._cut(line, number)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{self.path}: damaged after line {number}: {error}") from None

    def _cut(self, line: bytes, number: int) -> Cut:
        try:
            cut = deserialize_item(json.loads(line.decode("utf-8")))
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, AssertionError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise ValueError(f"{self.path}:{number}: not a lhotse cut ({reason})") from None
        if not isinstance(cut, Cut):
            raise ValueError(f"{self.path}:{number}: a {type(cut).__name__}, not a lhotse cut")
        return cut


def _at_sampling_rate(cut: Cut) -> Cut:
    return cut if cut.has_features or cut.sampling_rate == SAMPLING_RATE else cut.resample(SAMPLING_RATE)


def has_features(cuts: CutSet) -> bool:
    """Whether the first cut has stored features; ValueError where there is no cut at all."""
    first = next(iter(cuts), None)
    if first is None:
        raise ValueError("the cut manifest is empty")
    return first.has_features


class EpochSampler:
    """One epoch of a lhotse sampler without its first `skip` batches; logs how many cuts were left out."""

    def __init__(self, sampler: DynamicBucketingSampler, skip: int = 0):
        self.sampler, self.skip = sampler, skip

    def __iter__(self) -> Iterator[CutSet]:
        # By next alone: a second iter(), such as a for loop's, would set a lhotse sampler back to its start.
        batches, position = iter(self.sampler), 0
        while (batch := next(batches, None)) is not None:
            position += 1
            if position > self.skip:
                yield batch
        if position < self.skip:
            raise ValueError(
                f"cannot go on after batch {self.skip}: the epoch has only {position} (other "
                "cuts or another max_duration than before?)"
            )
        counts = self.sampler.diagnostics.current_epoch_stats
        if counts.discarded_cuts:
            logging.info(
                f"epoch {self.sampler.epoch}: {counts.discarded_cuts} of {counts.total_cuts} cuts "
                "left out (outside the duration limits or excluded)"
            )


def _bucketing_sampler(
    cuts: CutSet, wanted: Callable[[Cut], bool], config: DataConfig, **options: Any
) -> DynamicBucketingSampler:
    check_lhotse()
    sample = list(islice((cut for cut in cuts if wanted(cut)), CUTS_FOR_BUCKETS))
    if not sample:
        raise ValueError(
            "no cut is left to train on: all are excluded or outside "
            f"{config.min_duration:g} .. {config.max_cut_duration:g} s"
        )
    buckets = min(config.num_buckets, len(sample))
    limits = estimate_duration_buckets(sample, buckets) if buckets > 1 else []
    sampler = DynamicBucketingSampler(
        cuts,
        max_duration=config.max_duration,
        buffer_size=config.shuffle_buffer,
        duration_bins=limits or [max(cut.duration for cut in sample)],
        **options,
    )
    return sampler.filter(wanted)


def _loader(dataset: SpeechDataset, sampler: EpochSampler, config: DataConfig) -> DataLoader:
    return DataLoader(dataset, sampler=sampler, batch_size=None, num_workers=config.num_workers)
