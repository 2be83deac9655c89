"""LongUtterance: an utterance that is too long to be encoded at once. Needs no lhotse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hainan_k2.frontend.spec import FeatureSpec


@dataclass(frozen=True)
class LongUtterance:
    """The input of which windows are cut (hainan_k2.inference.windows).

    Args:
      spec: the features that the encoder is given.
      recording: mono samples (N,) at 16 kHz, or stored features (T, F) of `spec`, not normalised.
    """

    spec: FeatureSpec
    recording: np.ndarray
