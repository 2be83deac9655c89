"""Batches of cuts to tensors: features read or computed, normalised per utterance, augmented repeatably."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.dataset import K2SpeechRecognitionDataset, PrecomputedFeatures
from lhotse.features.base import FeatureExtractor
from lhotse.utils import compute_num_frames

from hainan_k2.frontend.augment import NoiseMix, SpecAugment, generator
from hainan_k2.frontend.features import FRAME_SHIFT
from hainan_k2.frontend.spec import FBANK, FeatureSpec


class SpeechDataset(K2SpeechRecognitionDataset):
    """lhotse's dataset with whole-cut lengths, the features of a FeatureSpec and, given them, augmentation of
    features (SpecAugment), of cuts (noise) and of samples (waves).

    `dataset[cuts]` is `{"inputs": (B, T, F) float32, "supervisions": {"num_frames": (B,) int32, "text": list of str,
    "cut_id": list of str, "seconds": list of float, "sequence_idx": 0..B-1, "start_frame": zeros}}`, longest cut
    first, padding 0.
    """

    def __init__(self, spec: FeatureSpec = FBANK, stored: bool = True, seed: int = 0, epoch: int = 0,
                 spec_augment: SpecAugment | None = None, noise: NoiseMix | None = None,
                 waves: Callable[[np.ndarray, random.Random], np.ndarray] | None = None):
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
            check_cut(cut, self.stored, self.spec.num_bins)
        if self.noise is not None:
            cuts = self.noise(cuts, generator(self.seed, self.epoch, "noise " + " ".join(cuts.ids)))
        batch = super().__getitem__(cuts)
        supervisions = batch["supervisions"]
        ordered = supervisions.pop("cut")
        supervisions["cut_id"] = [cut.id for cut in ordered]
        supervisions["seconds"] = [cut.duration for cut in ordered]
        if self.spec_augment is not None:
            for index, name in enumerate(supervisions["cut_id"]):
                utterance = batch["inputs"][index, :supervisions["num_frames"][index]]
                mean = utterance.mean()  # what SpecAugment masks with; 0 where features are normalised
                utterance[:] = mean + self.spec_augment(utterance - mean, generator(self.seed, self.epoch, name))
        return batch


class WholeCuts:
    """Input strategies whose one segment of a cut is all of it: a rounded supervision may be a frame off."""

    def supervision_intervals(self, cuts: CutSet) -> dict[str, torch.Tensor]:
        return {"sequence_idx": torch.arange(len(cuts), dtype=torch.int32),
                "start_frame": torch.zeros(len(cuts), dtype=torch.int32),
                "num_frames": torch.tensor([num_frames(cut) for cut in cuts], dtype=torch.int32)}


class StoredFeatures(WholeCuts, PrecomputedFeatures):
    """Features that the cuts' manifests point to."""


class ComputedFeatures(WholeCuts):
    """Features made from the cuts' audio, which `sound(cut, samples (N,)) -> (N,)` may change before."""

    def __init__(self, extractor: FeatureExtractor, sound: Callable[[Cut, np.ndarray], np.ndarray]):
        self.extractor, self.sound = extractor, sound

    def __call__(self, cuts: CutSet) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, T, F), padded with 0, and lens (B,)."""
        features = [torch.from_numpy(self.extractor.extract(self.samples(cut), cut.sampling_rate)) for cut in cuts]
        lens = torch.tensor([len(f) for f in features], dtype=torch.int32)
        return torch.nn.utils.rnn.pad_sequence(features, batch_first=True), lens

    def samples(self, cut: Cut) -> np.ndarray:
        """(N,) float32."""
        audio = cut.load_audio()
        if len(audio) > 1:
            raise ValueError(f"cut {cut.id} has {len(audio)} channels: features are made of one")
        return self.sound(cut, audio[0])


def num_frames(cut: Cut) -> int:
    """Feature frames of a cut, stored or to be computed."""
    if cut.has_features:
        return cut.num_frames
    return compute_num_frames(cut.duration, FRAME_SHIFT, cut.sampling_rate)


def short_frames(cut: Cut) -> int:
    """Frames of 10 ms of a cut, whatever the shift of its stored features."""
    frames = num_frames(cut)
    return round(frames * cut.frame_shift / FRAME_SHIFT) if cut.has_features else frames


def check_cut(cut: Cut, stored: bool, num_bins: int) -> None:
    """Raises ValueError, naming the cut, unless a batch can be made of it."""
    if len(cut.supervisions) != 1 or cut.supervisions[0].text is None:
        raise ValueError(f"cut {cut.id} has {len(cut.supervisions)} supervisions; each cut needs one, with "
                         "its text (lhotse: cuts.trim_to_supervisions(keep_overlapping=False))")
    if cut.has_features != stored:
        raise ValueError(f"cut {cut.id} has {'' if cut.has_features else 'no '}stored features, unlike the "
                         "first cut: compute them for all cuts or for none")
    if stored and cut.num_features != num_bins:
        raise ValueError(f"cut {cut.id} has stored features of {cut.num_features} bins, not {num_bins}")
    if not stored and not cut.has_recording:
        raise ValueError(f"cut {cut.id} has neither features nor a recording")
