"""Utterances that are too long to be encoded at once: the encoder reads them window by window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from lhotse.cut import Cut

from hainan_k2.data.dataset import StoredFeatures, load_samples
from hainan_k2.frontend.spec import FeatureSpec


@dataclass(frozen=True)
class LongUtterance:
    """What windows are cut from: `recording` holds mono samples (N,) at 16 kHz, or stored features (T, F) of `spec`."""

    spec: FeatureSpec
    recording: np.ndarray

    @classmethod
    def read(cls, cut: Cut, stored: bool, spec: FeatureSpec) -> LongUtterance:
        """Read the stored features of a cut, or its audio where no features are `stored`.

        Raises one of dataset.UNREADABLE where they cannot be read.
        """
        return cls(spec, StoredFeatures().read(cut).numpy() if stored else load_samples(cut))
