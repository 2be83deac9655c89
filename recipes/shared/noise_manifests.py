"""Stage 0: manifests of MUSAN (SLR17), as noise, and of the room responses of RIRS_NOISES (SLR28), by lhotse.

    python noise_manifests.py --musan DIR --rir DIR --out-dir OUT

writes OUT/musan_cuts.jsonl.gz for --noise-cuts and OUT/rir_recordings.jsonl.gz for --rir-recordings of train.py. A cut
is a whole recording; training reads a part of it, at a random position, that is as long as an utterance.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hainan_k2.cli import errors_in_one_line, parse, reason, start_logging
from hainan_k2.config import option

if TYPE_CHECKING:
    from lhotse import Recording

logger = logging.getLogger(__name__)
MUSAN_PARTS = ("music", "speech", "noise")
RIR_PARTS = {"real_rir": "real_rirs_isotropic_noises", "sim_rir": "simulated_rirs"}


@dataclass(frozen=True)
class NoiseConfig:
    musan: str = option("", "folder of the unpacked MUSAN corpus, with music, noise and speech")
    rir: str = option("", "folder RIRS_NOISES, with real_rirs_isotropic_noises and simulated_rirs")
    out_dir: str = option("", "folder for the manifests (required)")

    help_title = "options"

    def __post_init__(self) -> None:
        if not self.out_dir or not (self.musan or self.rir):
            raise ValueError("give --out-dir, and --musan or --rir")


def musan_recordings(folder: Path) -> list[Recording]:
    """The recordings of music, speech and noise. Raises ValueError where a part is missing or cannot be read."""
    from lhotse.recipes import prepare_musan

    check_folders(folder, MUSAN_PARTS, "the unpacked MUSAN")
    return recordings_of(folder, prepare_musan, MUSAN_PARTS)


def rir_recordings(folder: Path) -> list[Recording]:
    """The measured and the simulated room responses. Raises ValueError as `musan_recordings`."""
    from lhotse.recipes import prepare_rir_noise

    check_folders(folder, RIR_PARTS.values(), "the unpacked RIRS_NOISES")
    return recordings_of(folder, prepare_rir_noise, tuple(RIR_PARTS))


def check_folders(folder: Path, parts: Iterable[str], corpus: str) -> None:
    """Raises ValueError where `folder` is missing, or one of its `parts` has no .wav files."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    empty = [part for part in parts if next((folder / part).rglob("*.wav"), None) is None]
    if empty:
        raise ValueError(f"{folder} has no .wav files in {' '.join(empty)}: give the folder of {corpus}")


def recordings_of(folder: Path, prepare: Callable[..., Any], parts: Sequence[str]) -> list[Recording]:
    """The recordings of all parts, in the order of their ids, by a preparer of lhotse.

    Raises ValueError where a part is empty, and where a file cannot be read or is not as the others.
    """
    from hainan_k2.data.dataset import UNREADABLE

    try:
        manifests = prepare(folder.resolve(), parts=parts)
    except (*UNREADABLE, KeyError, IndexError) as error:
        place = damaged_file(folder) or folder
        raise ValueError(
            f"{place}: damaged, or not as unpacked: {prepare.__name__} of lhotse says {reason(error)}"
        ) from None
    recordings: dict[str, Recording] = {}
    for part in parts:
        found = list(manifests[part]["recordings"])
        if not found:
            raise ValueError(f"{folder}: lhotse finds no {part} in it")
        for recording in found:
            if recording.id in recordings:
                raise ValueError(f"{folder}: two files are named {recording.id}")
            recordings[recording.id] = recording
        logger.info("%s: %d recordings, %.2f h", part, len(found), sum(r.duration for r in found) / 3600)
    return [recordings[name] for name in sorted(recordings)]


def damaged_file(folder: Path) -> Optional[Path]:
    """The first .wav file under a folder that libsndfile cannot open; lhotse's errors may not name it."""
    import soundfile

    for path in sorted(folder.rglob("*.wav")):
        try:
            soundfile.info(path)
        except soundfile.SoundFileError:
            return path
    return None


def main(argv: Optional[Sequence[str]] = None) -> None:
    (config,) = parse(argv, __doc__, NoiseConfig)
    start_logging()
    with errors_in_one_line():
        from lhotse import CutSet, RecordingSet

        from hainan_k2.data.manifests import write_manifest

        out_dir = Path(config.out_dir)
        if config.musan:
            noise = [recording.to_cut() for recording in musan_recordings(Path(config.musan))]
            write_manifest(CutSet.from_cuts(noise), out_dir / "musan_cuts.jsonl.gz")
        if config.rir:
            responses = rir_recordings(Path(config.rir))
            write_manifest(RecordingSet.from_recordings(responses), out_dir / "rir_recordings.jsonl.gz")


if __name__ == "__main__":
    main()
