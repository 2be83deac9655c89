"""Batches of cuts to tensors: features read or computed, normalised per utterance, augmented repeatably."""

from __future__ import annotations

from typing import Any

import torch
from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.dataset import K2SpeechRecognitionDataset, OnTheFlyFeatures, PrecomputedFeatures
from lhotse.utils import compute_num_frames

from hainan_k2.frontend.augment import NoiseMix, SpecAugment, generator
from hainan_k2.frontend.features import FRAME_SHIFT, Fbank, FbankConfig, UtteranceNorm


class SpeechDataset(K2SpeechRecognitionDataset):
    """lhotse's dataset with whole-cut lengths, normalised features and, given them, SpecAugment and noise.

    `dataset[cuts]` is `{"inputs": (B, T, F) float32, "supervisions": {"num_frames": (B,) int32, "text": list
    of str, "cut_id": list of str, "sequence_idx": 0..B-1, "start_frame": zeros}}`, longest cut first, padding
    0.
    """

    def __init__(self, num_mel_bins: int = 80, stored: bool = True, seed: int = 0, epoch: int = 0,
                 spec_augment: SpecAugment | None = None, noise: NoiseMix | None = None):
        strategy = StoredFeatures() if stored else ComputedFeatures(Fbank(FbankConfig(num_mel_bins)))
        super().__init__(return_cuts=True, input_strategy=strategy, input_transforms=[UtteranceNorm()])
        self.num_mel_bins, self.stored, self.seed, self.epoch = num_mel_bins, stored, seed, epoch
        self.spec_augment, self.noise = spec_augment, noise

    def __getitem__(self, cuts: CutSet) -> dict[str, Any]:
        for cut in cuts:
            check_cut(cut, self.stored, self.num_mel_bins)
        if self.noise is not None:
            cuts = self.noise(cuts, generator(self.seed, self.epoch, "noise " + " ".join(cuts.ids)))
        batch = super().__getitem__(cuts)
        supervisions = batch["supervisions"]
        supervisions["cut_id"] = [cut.id for cut in supervisions.pop("cut")]
        if self.spec_augment is not None:
            for index, name in enumerate(supervisions["cut_id"]):
                utterance = batch["inputs"][index, :supervisions["num_frames"][index]]
                utterance[:] = self.spec_augment(utterance, generator(self.seed, self.epoch, name))
        return batch


class WholeCuts:
    """Input strategies whose one segment of a cut is all of it: a rounded supervision may be a frame off."""

    def supervision_intervals(self, cuts: CutSet) -> dict[str, torch.Tensor]:
        return {"sequence_idx": torch.arange(len(cuts), dtype=torch.int32),
                "start_frame": torch.zeros(len(cuts), dtype=torch.int32),
                "num_frames": torch.tensor([num_frames(cut) for cut in cuts], dtype=torch.int32)}


class StoredFeatures(WholeCuts, PrecomputedFeatures):
    """Features that the cuts' manifests point to."""


class ComputedFeatures(WholeCuts, OnTheFlyFeatures):
    """Features made from the cuts' audio."""


def num_frames(cut: Cut) -> int:
    """Feature frames of a cut, stored or to be computed."""
    if cut.has_features:
        return cut.num_frames
    return compute_num_frames(cut.duration, FRAME_SHIFT, cut.sampling_rate)


def check_cut(cut: Cut, stored: bool, num_mel_bins: int) -> None:
    """Raises ValueError, naming the cut, unless a batch can be made of it."""
    if len(cut.supervisions) != 1 or cut.supervisions[0].text is None:
        raise ValueError(f"cut {cut.id} has {len(cut.supervisions)} supervisions; each cut needs one, with "
                         "its text (lhotse: cuts.trim_to_supervisions(keep_overlapping=False))")
    if cut.has_features != stored:
        raise ValueError(f"cut {cut.id} has {'' if cut.has_features else 'no '}stored features, unlike the "
                         "first cut: compute them for all cuts or for none")
    if stored and cut.num_features != num_mel_bins:
        raise ValueError(f"cut {cut.id} has stored features of {cut.num_features} bins, not {num_mel_bins}")
    if not stored and not cut.has_recording:
        raise ValueError(f"cut {cut.id} has neither features nor a recording")
