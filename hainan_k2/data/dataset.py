"""SpeechDataset: cuts to padded features, read or computed, normalised per utterance, augmented reproducibly."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Optional

import numpy as np
import torch
from lhotse import CutSet
from lhotse.audio.utils import AudioLoadingError, DurationMismatchError
from lhotse.cut import Cut
from lhotse.dataset import K2SpeechRecognitionDataset

from hainan_k2.cli import reason
from hainan_k2.data.augment import NoiseMix, SpecAugment, generator
from hainan_k2.data.cuts import check_cut, num_frames
from hainan_k2.data.extractors import extractor_of, transforms_of
from hainan_k2.data.long_utterance import LongUtterance
from hainan_k2.data.reverberation import Reverberation
from hainan_k2.frontend.spec import FBANK, FeatureSpec

# Errors of lhotse, libsndfile and lilcom for files that are missing, truncated or damaged.
UNREADABLE = (OSError, ValueError, RuntimeError, EOFError, AssertionError, AudioLoadingError, DurationMismatchError)


class SpeechDataset(K2SpeechRecognitionDataset):
    """lhotse's K2SpeechRecognitionDataset over whole cuts, with the features of a FeatureSpec.

    `dataset[cuts]` is `{"inputs": (B, T, F) float32, "supervisions": {"num_frames": (B,) int32, "text": list of str,
    "cut_id": list of str, "seconds": list of float, "sequence_idx": 0..B-1, "start_frame": zeros}, "left_out": list of
    (id, reason)}`, longest cut first, padded with 0. Cuts that cannot be read, or whose values are not finite, are left
    out; B may be 0.

    Args:
      spec: the features that the encoder expects.
      stored: read stored features; otherwise compute them from the audio.
      seed, epoch: with the id of a cut, they determine every random choice of its augmentation.
      spec_augment: augments features (T, F).
      noise: mixes noise into cuts.
      waves: augments samples (N,); ValueError with stored features.
      reverberation: convolves cuts with room responses, before noise is mixed in; ValueError with stored features.
    """

    def __init__(
        self,
        spec: FeatureSpec = FBANK,
        stored: bool = True,
        seed: int = 0,
        epoch: int = 0,
        spec_augment: Optional[SpecAugment] = None,
        noise: Optional[NoiseMix] = None,
        waves: Optional[Callable[[np.ndarray, random.Random], np.ndarray]] = None,
        reverberation: Optional[Reverberation] = None,
    ):
        for name, augmentation in (("wave_augment", waves), ("rir_recordings", reverberation)):
            if augmentation is not None and stored:
                raise ValueError(f"{name} needs audio, and these cuts have stored features: give cuts without features")
        strategy = StoredFeatures(spec) if stored else ComputedFeatures(spec, self._augment_samples)
        super().__init__(return_cuts=True, input_strategy=strategy, input_transforms=transforms_of(spec))
        self.spec, self.stored, self.seed, self.epoch = spec, stored, seed, epoch
        self.spec_augment, self.noise, self.waves, self.reverberation = spec_augment, noise, waves, reverberation

    def _augment_samples(self, cut: Cut, samples: np.ndarray) -> np.ndarray:
        return samples if self.waves is None else self.waves(samples, generator(self.seed, self.epoch, cut.id))

    def __getitem__(self, cuts: CutSet) -> dict[str, Any]:
        for cut in cuts:
            check_cut(cut, self.stored, self.spec)
        if self.reverberation is not None:
            cuts = self.reverberation(cuts, self.seed, self.epoch)
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
    """A lhotse input strategy that takes every cut as a whole: a rounded supervision may be one frame off.

    `left_out` holds (id, reason) of the cuts of the last batch that could not be read, or had values that are not
    finite.
    """

    left_out: list[tuple[str, str]]

    def __init__(self, spec: FeatureSpec):
        self.spec = spec

    def __call__(self, cuts: CutSet) -> tuple[torch.Tensor, torch.Tensor, CutSet]:
        """(B, T, F), padded with 0; lens (B,); the B cuts that could be read. Raises NothingToRead where B is 0."""
        features: list[torch.Tensor] = []
        kept: list[Cut] = []
        self.left_out = []
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

    @abstractmethod
    def read(self, cut: Cut) -> torch.Tensor:
        """(T, F) float32; raises one of UNREADABLE."""

    def checked(self, features: torch.Tensor, cut: Cut) -> torch.Tensor:
        """The frames (T, F) of the cut; ValueError where frames are missing or values are not finite."""
        frames = num_frames(cut, self.spec)
        if len(features) < frames:
            raise ValueError(f"{len(features)} frames of features; its manifest says {frames}")
        if not torch.isfinite(features).all():
            raise ValueError("its features are not finite")
        return features[:frames]

    def supervision_intervals(self, cuts: Sequence[Cut]) -> dict[str, torch.Tensor]:
        """lhotse's table of supervisions: one per cut, of all its frames."""
        return {
            "sequence_idx": torch.arange(len(cuts), dtype=torch.int32),
            "start_frame": torch.zeros(len(cuts), dtype=torch.int32),
            "num_frames": torch.tensor([num_frames(cut, self.spec) for cut in cuts], dtype=torch.int32),
        }


class StoredFeatures(WholeCuts):
    """Reads the features that the manifest points to."""

    def read(self, cut: Cut) -> torch.Tensor:
        features = cut.features.load() if self.spec.kind == "encoded" else cut.load_features()
        return self.checked(torch.from_numpy(features), cut)


class ComputedFeatures(WholeCuts):
    """Computes features from audio, augmented by `augment(cut, samples (N,)) -> (N,)`."""

    def __init__(self, spec: FeatureSpec, augment: Callable[[Cut, np.ndarray], np.ndarray]):
        super().__init__(spec)
        self.extractor, self.augment = extractor_of(spec), augment

    def read(self, cut: Cut) -> torch.Tensor:
        features = self.extractor.extract(self.augment(cut, load_samples(cut)), cut.sampling_rate)
        return self.checked(torch.from_numpy(features), cut)


def load_samples(cut: Cut) -> np.ndarray:
    """The samples (N,) of a cut with one channel; ValueError where values are not finite."""
    (samples,) = cut.load_audio()
    bad = len(samples) - np.isfinite(samples).sum()
    if bad:
        raise ValueError(f"{bad} of {len(samples)} samples are not finite")
    return np.asarray(samples)


def read_long(cut: Cut, stored: bool, spec: FeatureSpec) -> LongUtterance:
    """Read a long cut, which is encoded in windows: its stored features, or its samples where none are `stored`.

    Raises one of UNREADABLE where they cannot be read.
    """
    return LongUtterance(spec, StoredFeatures(spec).read(cut).numpy() if stored else load_samples(cut))


class NothingToRead(Exception):
    """No cut of a batch could be read."""
