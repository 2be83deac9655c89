"""Reverberation by measured or simulated room impulse responses, convolved by lhotse."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Union

from lhotse import CutSet, Recording
from lhotse.cut import MixedCut

from hainan_k2.data.augment import generator
from hainan_k2.data.cuts import StoredItems, runs_command
from hainan_k2.frontend.audio import SAMPLING_RATE


class Reverberation:
    """Convolves some of the cuts with a room impulse response each, when their audio is read.

    The choices for a cut depend on (seed, epoch, cut id) alone. Length, mean power and the time of the direct sound
    stay as they are; of a response with several channels the first is used. All parts of a mixed cut are convolved with
    the same response, one by one. Only the manifest is held in memory.

    Args:
      responses: recordings of responses, at least one; those at other rates are resampled to 16 kHz.
      prob: share of the cuts that are convolved.
    Raises:
      ValueError: where there is no response, or `prob` is outside [0, 1].
    """

    def __init__(self, responses: Iterable[Recording], prob: float = 0.5):
        if not 0 <= prob <= 1:
            raise ValueError(f"rir_prob is {prob}: it lies in [0, 1]")
        self.responses = [
            response if response.sampling_rate == SAMPLING_RATE else response.resample(SAMPLING_RATE)
            for response in responses
        ]
        self.prob = prob
        if not self.responses:
            raise ValueError("the set of room impulse responses is empty")

    @classmethod
    def of_manifest(cls, path: Union[str, Path], prob: float = 0.5) -> Reverberation:
        """Read a manifest of recordings, .jsonl or .jsonl.gz. Raises ValueError, beginning with the file."""
        if not Path(path).is_file():
            raise ValueError(f"{path}: no such recording manifest (lhotse prepare rir-noise writes it)")
        responses = []
        for place, response in StoredItems(path, Recording):
            if runs_command(response):
                raise ValueError(
                    f"{place}: the audio of recording {response.id} is a shell command: store it as a file"
                )
            responses.append(response)
        if not responses:
            raise ValueError(f"{path}: the manifest is empty")
        return cls(responses, prob)

    def __call__(self, cuts: CutSet, seed: int, epoch: int) -> CutSet:
        """The cuts, of the same number, order, ids and durations. They need recordings, and no features."""
        reverberant = []
        for cut in cuts:
            rng: random.Random = generator(seed, epoch, "reverberation " + cut.id)
            if rng.random() < self.prob:
                # By default lhotse convolves a mixture as a whole, and loses that when noise is mixed in later.
                parts = {"mix_first": False} if isinstance(cut, MixedCut) and not cut.transforms else {}
                cut = cut.reverb_rir(rng.choice(self.responses), affix_id=False, **parts)
            reverberant.append(cut)
        return CutSet.from_cuts(reverberant)
