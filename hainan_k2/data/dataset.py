"""Batches of cuts to tensors: features read or computed, normalised per utterance, augmented repeatably."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from lhotse import CutSet
from lhotse.audio.utils import AudioLoadingError, DurationMismatchError
from lhotse.cut import Cut, MixedCut
from lhotse.dataset import K2SpeechRecognitionDataset
from lhotse.features.base import FeatureExtractor
from lhotse.utils import compute_num_frames

from hainan_k2.cli import reason
from hainan_k2.data.augment import NoiseMix, SpecAugment, generator
from hainan_k2.frontend.features import FRAME_SHIFT
from hainan_k2.frontend.spec import FBANK, FeatureSpec

# What lhotse, libsndfile and lilcom raise on files that are gone, cut short or damaged.
UNREADABLE = (OSError, ValueError, RuntimeError, EOFError, AssertionError, AudioLoadingError, DurationMismatchError)


class SpeechDataset(K2SpeechRecognitionDataset):
    """lhotse's dataset with whole-cut lengths, the features of a FeatureSpec and, given them, augmentation of
    features (SpecAugment), of cuts (noise) and of samples (waves).

    `dataset[cuts]` is `{"inputs": (B, T, F) float32, "supervisions": {"num_frames": (B,) int32, "text": list of str,
    "cut_id": list of str, "seconds": list of float, "sequence_idx": 0..B-1, "start_frame": zeros}, "left_out": list of
    (id, reason)}`, longest cut first, padding 0. A cut that cannot be read, or is not finite, is left out; B may be 0.
    """

    def __init__(
        self,
        spec: FeatureSpec = FBANK,
        stored: bool = True,
        seed: int = 0,
        epoch: int = 0,
        spec_augment: SpecAugment | None = None,
        noise: NoiseMix | None = None,
        waves: Callable[[np.ndarray, random.Random], np.ndarray] | None = None,
    ):
        if waves is not None and stored:
            raise ValueError("the sound of stored features cannot be augmented: give cuts without features")
        strategy = StoredFeatures() if stored else ComputedFeatures(spec.extractor(), self._sound)
        super().__init__(return_cuts=True, input_strategy=strategy, input_transforms=spec.transforms())
        self.spec, self.stored, self.seed, self.epoch = spec, stored, seed, epoch
        self.spec_augment, self.noise, self.waves = spec_augment, noise, waves

    def _sound(self, cut: Cut, samples: np.ndarray) -> np.ndarray:
        return samples if self.waves is None else self.waves(samples, generator(self.seed, self.epoch, cut.id))

    def __getitem__(self, cuts: CutSet) -> dict[str, Any]:
        for cut in cuts:
            check_cut(cut, self.stored, self.spec)
        if self.noise is not None:
            cuts = self.noise(cuts, generator(self.seed, self.epoch, "noise " + " ".join(cuts.ids)))
        try:
            batch = super().__getitem__(cuts)
        except NothingToRead:
            batch = {
                "inputs": torch.zeros(0, 0, self.spec.num_bins),
                "supervisions": {"text": [], "cut": [], **self.input_strategy.supervision_intervals(())},
            }
        batch["left_out"] = self.input_strategy.left_out
        supervisions = batch["supervisions"]
        ordered = supervisions.pop("cut")
        supervisions["cut_id"] = [cut.id for cut in ordered]
        supervisions["seconds"] = [cut.duration for cut in ordered]
        if self.spec_augment is not None:
            for index, name in enumerate(supervisions["cut_id"]):
                utterance = batch["inputs"][index, : supervisions["num_frames"][index]]
                mean = utterance.mean()  # what SpecAugment masks with; 0 where features are normalised
                utterance[:] = mean + self.spec_augment(utterance - mean, generator(self.seed, self.epoch, name))
        return batch


class WholeCuts:
    """Input strategies whose one segment of a cut is all of it: a rounded supervision may be a frame off.

    `left_out` holds (id, reason) of the cuts of the last batch that could not be read, or hold numbers that are not
    finite.
    """

    def __call__(self, cuts: CutSet) -> tuple[torch.Tensor, torch.Tensor, CutSet]:
        """(B, T, F), padded with 0, lens (B,), and the B cuts that could be read; NothingToRead where there is none."""
        features, kept, self.left_out = [], [], []
        for cut in cuts:
            try:
                features.append(self.read(cut))
                kept.append(cut)
            except UNREADABLE as error:
                self.left_out.append((cut.id, reason(error)))
        if not kept:
            raise NothingToRead
        lens = torch.tensor([len(f) for f in features], dtype=torch.int32)
        return torch.nn.utils.rnn.pad_sequence(features, batch_first=True), lens, CutSet.from_cuts(kept)

    def read(self, cut: Cut) -> torch.Tensor:
        """(T, F) float32; raises one of UNREADABLE."""
        raise NotImplementedError

    def supervision_intervals(self, cuts: CutSet) -> dict[str, torch.Tensor]:
        return {
            "sequence_idx": torch.arange(len(cuts), dtype=torch.int32),
            "start_frame": torch.zeros(len(cuts), dtype=torch.int32),
            "num_frames": torch.tensor([num_frames(cut) for cut in cuts], dtype=torch.int32),
        }


class StoredFeatures(WholeCuts):
    """Features that the cuts' manifests point to."""

    def read(self, cut: Cut) -> torch.Tensor:
        return usable(torch.from_numpy(cut.load_features()), cut)


class ComputedFeatures(WholeCuts):
    """Features made from the cuts' audio, which `sound(cut, samples (N,)) -> (N,)` may change before."""

    def __init__(self, extractor: FeatureExtractor, sound: Callable[[Cut, np.ndarray], np.ndarray]):
        self.extractor, self.sound = extractor, sound

    def read(self, cut: Cut) -> torch.Tensor:
        samples = self.sound(cut, load_samples(cut))
        return usable(torch.from_numpy(self.extractor.extract(samples, cut.sampling_rate)), cut)


def load_samples(cut: Cut) -> np.ndarray:
    """The samples (N,) of a cut with one channel; ValueError where they are not finite."""
    (samples,) = cut.load_audio()
    bad = len(samples) - np.isfinite(samples).sum()
    if bad:
        raise ValueError(f"{bad} of {len(samples)} samples are not finite")
    return samples


class NothingToRead(Exception):
    """No cut of a batch could be read."""


def usable(features: torch.Tensor, cut: Cut) -> torch.Tensor:
    """(T, F) as they are; ValueError where frames are missing or numbers are not finite."""
    if len(features) < num_frames(cut):
        raise ValueError(f"{len(features)} frames of features; its manifest says {num_frames(cut)}")
    if not torch.isfinite(features).all():
        raise ValueError("its features are not finite")
    return features


def num_frames(cut: Cut) -> int:
    """Feature frames of a cut, stored or to be computed."""
    if cut.has_features:
        return cut.num_frames
    return compute_num_frames(cut.duration, FRAME_SHIFT, cut.sampling_rate)


def short_frames(cut: Cut) -> int:
    """Frames of 10 ms of a cut, whatever the shift of its stored features."""
    frames = num_frames(cut)
    return round(frames * cut.frame_shift / FRAME_SHIFT) if cut.has_features else frames


def feature_type(cut: Cut) -> str:
    """The type of the cut's stored features, as lhotse names it; of a mixed cut's first track that has some."""
    parts = [track.cut for track in cut.tracks] if isinstance(cut, MixedCut) else [cut]
    return next(part.features.type for part in parts if getattr(part, "features", None) is not None)


def check_cut(cut: Cut, stored: bool, spec: FeatureSpec) -> None:
    """Raises ValueError, naming the cut, unless a batch can be made of it."""
    if len(cut.supervisions) != 1 or cut.supervisions[0].text is None:
        raise ValueError(
            f"cut {cut.id} has {len(cut.supervisions)} supervisions; each cut needs one, with "
            "its text (lhotse: cuts.trim_to_supervisions(keep_overlapping=False))"
        )
    if cut.has_features != stored:
        raise ValueError(
            f"cut {cut.id} has {'' if cut.has_features else 'no '}stored features, unlike the "
            "first cut: compute them for all cuts or for none"
        )
    if stored and (cut.num_features != spec.num_bins or feature_type(cut) not in spec.stored_types):
        raise ValueError(
            f"cut {cut.id} has stored features of type {feature_type(cut)}, {cut.num_features} bins; this "
            f"encoder expects {spec.stored_types[0]}, {spec.num_bins} bins: give cuts without features, "
            "as prepare_manifests.py writes them, and they are computed from the audio"
        )
    if not stored and not cut.has_recording:
        raise ValueError(f"cut {cut.id} has neither features nor a recording")
    if not stored and cut.num_channels != 1:
        raise ValueError(f"cut {cut.id} has {cut.num_channels} channels: features are made of one")
