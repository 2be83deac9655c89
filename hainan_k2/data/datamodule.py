"""Cut manifests to batches, in an order that depends on (seed, epoch) alone, so that training resumes exactly.

A loader is made for one epoch. Its sampler runs in the main process on metadata; workers only read and compute the
features of the batches that they are given, so the number of workers changes nothing but speed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from typing import Any, Optional

from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.dataset import DynamicBucketingSampler
from lhotse.dataset.sampling.dynamic_bucketing import estimate_duration_buckets
from torch.utils.data import DataLoader

from hainan_k2.data.augment import NoiseMix, SpecAugment, generator
from hainan_k2.data.compatibility import check_lhotse
from hainan_k2.data.config import WHOLE, DataConfig, Part
from hainan_k2.data.cuts import Cuts, check_cut, has_features, open_cuts
from hainan_k2.data.dataset import SpeechDataset
from hainan_k2.data.reverberation import Reverberation
from hainan_k2.data.waves import WaveAugment
from hainan_k2.frontend.spec import FBANK, FeatureSpec

CUTS_FOR_BUCKETS = 10000  # cuts whose durations set the limits between buckets

logger = logging.getLogger(__name__)


def train_loader(
    cuts: Cuts,
    config: DataConfig,
    *,
    seed: int = 0,
    epoch: int = 1,
    skip_batches: int = 0,
    exclude: Collection[str] = (),
    spec: FeatureSpec = FBANK,
    pin_memory: bool = False,
    part: Part = WHOLE,
) -> DataLoader:
    """The batches (see `SpeechDataset`) of one training epoch.

    Features stored with the cuts are read; those of cuts without are computed from the audio. Cuts outside the duration
    limits of `config`, or with an id in `exclude`, are left out and counted in the log.

    Args:
      skip_batches: batches at the start of the epoch that are left out without being read.
      spec: the features that the encoder expects.
      pin_memory: put batches into page-locked memory, for a faster copy to a CUDA device.
      part: each of `part.size` processes gets every `part.size`-th batch. All get the same number: lhotse shares out
        the cuts of the last ones and, where there are fewer cuts than processes, gives some of them twice.
    Raises:
      ValueError: for cuts that cannot be used, here or with their batch.
    """
    sampler = train_sampler(cuts, config, exclude, seed, epoch, part)
    stored = has_features(open_cuts(cuts, metadata=True))
    dataset = SpeechDataset(
        spec,
        stored=stored,
        seed=seed,
        epoch=epoch,
        spec_augment=_spec_augment(config) if config.spec_augment and spec.kind != "encoded" else None,
        noise=_noise(config, stored, spec) if config.noise_cuts else None,
        waves=WaveAugment(config.noise_dir) if config.wave_augment else None,
        reverberation=Reverberation.of_manifest(config.rir_recordings, config.rir_prob)
        if config.rir_recordings
        else None,
    )
    return _loader(dataset, EpochSampler(sampler, skip_batches), config, pin_memory)


def train_sampler(
    cuts: Cuts, config: DataConfig, exclude: Collection[str], seed: int, epoch: int, part: Part = WHOLE
) -> DynamicBucketingSampler:
    """The batches of cuts of an epoch; arguments as of `train_loader`."""
    excluded = frozenset(exclude)

    def wanted(cut: Cut) -> bool:
        return config.min_duration <= cut.duration <= config.max_cut_duration and cut.id not in excluded

    # lhotse orders an epoch by seed + epoch: neighbouring seeds would give each other's epochs.
    order_seed = generator(seed, 0, "order").getrandbits(40)
    options = {"shuffle": config.shuffle, "seed": order_seed, "rank": part.rank, "world_size": part.size}
    sampler = _bucketing_sampler(cuts, wanted, config, order_seed + epoch if config.shuffle else None, **options)
    sampler.set_epoch(epoch)
    return sampler


def eval_loader(
    cuts: Cuts, config: DataConfig, *, spec: FeatureSpec = FBANK, pin_memory: bool = False, part: Part = WHOLE
) -> DataLoader:
    """Every cut once, in a fixed order, without augmentation or limits, in batches as of `train_loader`.

    Of several processes, each gets every `part.size`-th batch, from number `part.rank` on; none may be left for it.
    Raises ValueError where the first cut cannot be used; where another cannot, with its batch.
    """
    sampler = _bucketing_sampler(cuts, lambda cut: True, config, None, shuffle=False, seed=0, rank=0, world_size=1)
    first = open_cuts(cuts, metadata=True)
    stored = has_features(first)
    check_cut(next(iter(first)), stored, spec)
    return _loader(SpeechDataset(spec, stored=stored), EpochSampler(sampler, part=part), config, pin_memory)


class EpochSampler:
    """One epoch of a lhotse sampler without its first `skip` batches, or the batches of a part of it; logs how many
    cuts were left out."""

    def __init__(self, sampler: DynamicBucketingSampler, skip: int = 0, part: Part = WHOLE):
        self.sampler, self.skip, self.part = sampler, skip, part

    def __iter__(self) -> Iterator[CutSet]:
        # By next alone: a second iter(), such as a for loop's, would set a lhotse sampler back to its start.
        batches, position = iter(self.sampler), 0
        while (batch := next(batches, None)) is not None:
            position += 1
            if position > self.skip and (position - 1) % self.part.size == self.part.rank:
                yield batch
        if position < self.skip:
            raise ValueError(
                f"cannot go on after batch {self.skip}: the epoch has only {position} (other "
                "cuts or another max_duration than before?)"
            )
        counts = self.sampler.diagnostics.current_epoch_stats
        if counts.discarded_cuts:
            logger.info(
                "epoch %d: %d of %d cuts left out (outside the duration limits or excluded)",
                self.sampler.epoch,
                counts.discarded_cuts,
                counts.total_cuts,
            )


def _spec_augment(config: DataConfig) -> SpecAugment:
    return SpecAugment(
        config.time_warp,
        config.freq_masks,
        config.freq_width,
        config.time_masks,
        config.time_width,
        config.time_fraction,
        config.spec_prob,
    )


def _noise(config: DataConfig, stored: bool, spec: FeatureSpec) -> NoiseMix:
    """The noise of `noise_cuts`. Raises ValueError where it cannot be mixed into the training cuts, whose features
    may be `stored`."""
    if spec.kind == "encoded":
        raise ValueError("noise_cuts needs audio or features, and these cuts have stored encoder output")
    noise = open_cuts(config.noise_cuts)
    if stored and not has_features(noise):
        raise ValueError(
            f"{config.noise_cuts}: noise without features, and the training cuts have stored ones: compute features of "
            "the noise (hainan-compute-features), or give training cuts without them"
        )
    low, high = config.noise_snr
    return NoiseMix(noise, (low, high), config.noise_prob)


def _bucketing_sampler(
    cuts: Cuts, wanted: Callable[[Cut], bool], config: DataConfig, shuffle_seed: Optional[int], **options: Any
) -> DynamicBucketingSampler:
    check_lhotse()
    sample = list(islice((cut for cut in open_cuts(cuts, metadata=True) if wanted(cut)), CUTS_FOR_BUCKETS))
    if not sample:
        raise ValueError(
            "no cut is left to train on: all are excluded or outside "
            f"{config.min_duration:g} .. {config.max_cut_duration:g} s"
        )
    buckets = min(config.num_buckets, len(sample))
    limits = estimate_duration_buckets(sample, buckets) if buckets > 1 else []
    sampler = DynamicBucketingSampler(
        open_cuts(cuts, shuffle_seed=shuffle_seed),
        max_duration=config.max_duration,
        buffer_size=config.shuffle_buffer,
        duration_bins=limits or [max(cut.duration for cut in sample)],
        **options,
    )
    return sampler.filter(wanted)


def _loader(dataset: SpeechDataset, sampler: EpochSampler, config: DataConfig, pin_memory: bool) -> DataLoader:
    return DataLoader(dataset, sampler=sampler, batch_size=None, num_workers=config.num_workers, pin_memory=pin_memory)
