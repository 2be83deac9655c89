"""Cut manifests: opened, and each cut checked before a batch is made of it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Optional, Union

from lhotse import CutSet, Recording
from lhotse.cut import Cut, MixedCut
from lhotse.lazy import LazyMapper
from lhotse.serialization import deserialize_item, open_best
from lhotse.utils import compute_num_frames, compute_num_samples

from hainan_k2.data.extractors import stored_types
from hainan_k2.data.shar import SharCuts, is_shar
from hainan_k2.frames import ENCODER_FRAME_SHIFT, FEATURE_FRAME_SHIFT
from hainan_k2.frontend.audio import SAMPLING_RATE
from hainan_k2.frontend.nemo_mel import HOP
from hainan_k2.frontend.spec import FeatureSpec

Cuts = Union[str, Path, CutSet]
ENCODER = "encoder_sha256"  # the custom field of a cut with stored encoder output: which encoder made it


def open_cuts(cuts: Cuts, *, metadata: bool = False, shuffle_seed: Optional[int] = None) -> CutSet:
    """A manifest (.jsonl, .jsonl.gz) or a Shar folder, read lazily, with audio resampled to 16 kHz.

    Args:
      metadata: the audio and features of a Shar folder are not read.
      shuffle_seed: as of SharCuts; manifests keep their order.
    Raises:
      ValueError: where there is neither.
    """
    if not isinstance(cuts, CutSet):
        if is_shar(cuts):
            cuts = CutSet(LazyMapper(SharCuts(cuts, metadata, shuffle_seed), partial(without_command, str(cuts))))
            return CutSet(LazyMapper(cuts, _at_sampling_rate))
        if not Path(cuts).is_file():
            raise ValueError(f"{cuts}: no such cut manifest (hainan-compute-features writes it)")
        cuts = StoredCuts(cuts)
    return CutSet(LazyMapper(cuts, _at_sampling_rate))


class StoredItems:
    """The (place, item) pairs of a .jsonl or .jsonl.gz manifest, read again by every iteration; a place is FILE:LINE.

    Args:
      kind: the class of all items, lhotse's Cut or Recording.
    Raises:
      ValueError: with the file and the number of the line, where a line is not of this kind.
    """

    def __init__(self, path: Union[str, Path], kind: type):
        self.path, self.kind = path, kind

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        number = 0
        try:
            with open_best(self.path, "rb") as stream:
                for number, line in enumerate(stream, 1):
                    yield f"{self.path}:{number}", self._item(line, number)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{self.path}: damaged after line {number}: {error}") from None

    def _item(self, line: bytes, number: int) -> Any:
        name = self.kind.__name__.lower()
        try:
            item = deserialize_item(json.loads(line.decode("utf-8")))
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, AssertionError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise ValueError(f"{self.path}:{number}: not a lhotse {name} ({reason})") from None
        if not isinstance(item, self.kind):
            raise ValueError(f"{self.path}:{number}: a {type(item).__name__}, not a lhotse {name}")
        return item


class StoredCuts:
    """The cuts of a .jsonl or .jsonl.gz file, read again by every iteration.

    Args:
      commands: take cuts whose audio is the output of a shell command, which lhotse runs whenever it is read.
    Raises:
      ValueError: with the file and the number of the line, where a line is not a cut, or names a command.
    """

    def __init__(self, path: Union[str, Path], commands: bool = False):
        self.items, self.commands = StoredItems(path, Cut), commands

    def __iter__(self) -> Iterator[Cut]:
        for place, cut in self.items:
            yield cut if self.commands else without_command(place, cut)


def has_command(cut: Cut) -> bool:
    """Whether reading the cut may run a shell command: one that is its audio, or one in a Kaldi archive's index."""
    if isinstance(cut, MixedCut):
        return any(has_command(track.cut) for track in cut.tracks) or _in_transforms(cut.transforms)
    recording, features = getattr(cut, "recording", None), getattr(cut, "features", None)
    return (recording is not None and runs_command(recording)) or (
        features is not None and features.storage_type == "kaldiio"
    )


def runs_command(recording: Recording) -> bool:
    """Whether reading a recording, or the room responses that it is convolved with, runs a shell command."""
    return any(source.type == "command" for source in recording.sources) or _in_transforms(recording.transforms)


def _in_transforms(transforms: Optional[Sequence[Any]]) -> bool:
    responses = [getattr(transform, "rir", None) for transform in transforms or ()]
    return any(
        runs_command(response) if isinstance(response, Recording) else has_command(response)
        for response in responses
        if response is not None
    )


def without_command(place: str, cut: Cut) -> Cut:
    """The cut. Raises ValueError, beginning with `place`, where reading it may run a shell command."""
    if has_command(cut):
        raise ValueError(
            f"{place}: the audio of cut {cut.id} is a shell command: hainan-data --allow-pipes true runs it once and "
            "stores the audio"
        )
    return cut


def _at_sampling_rate(cut: Cut) -> Cut:
    return cut if cut.has_features or cut.sampling_rate == SAMPLING_RATE else cut.resample(SAMPLING_RATE)


def has_features(cuts: CutSet) -> bool:
    """Whether the first cut has stored features; ValueError where there is no cut at all."""
    first = next(iter(cuts), None)
    if first is None:
        raise ValueError("the cut manifest is empty")
    return bool(first.has_features)


def num_frames(cut: Cut, spec: FeatureSpec) -> int:
    """Frames of the features of a cut, stored or to be computed.

    lhotse counts round(N / 160) frames; NeMo's features have floor(N / 160), and are stored with a copy of the last one
    where lhotse counts one more. An encoder also makes a frame of what is left at the end.
    """
    if spec.kind == "encoded":
        return int(cut.features.num_frames)
    if spec.kind == "nemo":
        return int(compute_num_samples(cut.duration, SAMPLING_RATE)) // HOP
    if cut.has_features:
        return int(cut.num_frames)
    return int(compute_num_frames(cut.duration, FEATURE_FRAME_SHIFT, cut.sampling_rate))


def frames_10ms(cut: Cut, spec: FeatureSpec) -> int:
    """Frames of 10 ms of a cut, whatever the frame shift of its stored features."""
    frames = num_frames(cut, spec)
    return round(frames * cut.frame_shift / FEATURE_FRAME_SHIFT) if cut.has_features else frames


def feature_type(cut: Cut) -> str:
    """lhotse's name for the type of a cut's stored features; of a mixed cut, its first track that has features."""
    parts = [track.cut for track in cut.tracks] if isinstance(cut, MixedCut) else [cut]
    return next(str(part.features.type) for part in parts if getattr(part, "features", None) is not None)


def check_cut(cut: Cut, stored: bool, spec: FeatureSpec) -> None:
    """Raises ValueError, naming the cut, unless a batch of features of `spec` can be made of it.

    `stored` tells whether the other cuts of the manifest have stored features.
    """
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
    types = stored_types(spec)
    if stored and not types:
        raise ValueError(
            f"cut {cut.id} has stored features; those with a {spec.window} window and pre-emphasis "
            f"{spec.preemphasis:g}, which this encoder expects, are never stored: give cuts without features, as "
            "hainan-data writes them, and they are computed from the audio"
        )
    if stored and (cut.num_features != spec.num_bins or feature_type(cut) not in types):
        raise ValueError(
            f"cut {cut.id} has stored features of type {feature_type(cut)}, {cut.num_features} bins; this "
            f"encoder expects {types[0]}, {spec.num_bins} bins: give cuts without features, "
            "as hainan-data writes them, and they are computed from the audio"
        )
    if spec.kind == "encoded":
        check_encoder_output(cut, spec)
    if not stored and not cut.has_recording:
        raise ValueError(f"cut {cut.id} has neither features nor a recording")
    if not stored and cut.num_channels != 1:
        raise ValueError(f"cut {cut.id} has {cut.num_channels} channels: features are made of one")


def check_encoder_output(cut: Cut, spec: FeatureSpec) -> None:
    """Raises ValueError, naming the cut, unless `spec.encoder` made its stored encoder output, of the whole cut."""
    made_by = str((getattr(cut, "custom", None) or {}).get(ENCODER))
    if made_by != spec.encoder:
        raise ValueError(
            f"cut {cut.id} has the stored output of another encoder, SHA-256 {made_by[:12]}; that of this model is "
            f"{spec.encoder[:12]}: store its own with hainan-compute-features --encoder MODEL_DIR"
        )
    whole = not isinstance(cut, MixedCut) and abs(cut.features.start - cut.start) < 1e-3
    # Feature frames are rounded, the last encoder frame is completed.
    longer = cut.features.duration - cut.duration if whole else 0.0
    if not whole or not -FEATURE_FRAME_SHIFT < longer < ENCODER_FRAME_SHIFT + FEATURE_FRAME_SHIFT:
        raise ValueError(
            f"cut {cut.id} is a part or a mixture of cuts whose encoder output is stored: cut and mix before "
            "hainan-compute-features"
        )
