"""Writes lines of Beneath a Steel Sky as FLAC and lhotse cuts without transcripts, for `hainan-label`.

python sky_cuts.py --packages data/packages --dir data/sky --hours 1      PACKAGES: the Debian package, unpacked
"""

from __future__ import annotations

import logging
import random
from dataclasses import MISSING, dataclass
from pathlib import Path

import soundfile
from lhotse import CutSet, Recording
from more_speech import find
from sky_labels import LONGEST, SHORTEST
from steel_sky import RATE, SteelSky

from hainan_k2.cli import errors_in_one_line, parse, start_logging
from hainan_k2.config import option
from hainan_k2.data.manifests import write_manifest
from hainan_k2.frontend.audio import SAMPLING_RATE, resample

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SkyConfig:
    packages: str = option(MISSING, "folder with the unpacked package beneath-a-steel-sky")
    dir: str = option(MISSING, "folder to write cuts.jsonl.gz and the FLAC files to")
    hours: float = option(10.0, "hours of lines to take, in random order", above=0)
    seed: int = option(0, "random seed of the order", at_least=0)


def write_cuts(config: SkyConfig) -> None:
    """Write the cuts. Raises ValueError where the game's files are missing or damaged."""
    game, folder = SteelSky(find(Path(config.packages), "**/sky.dnr").parent), Path(config.dir)
    folder.mkdir(parents=True, exist_ok=True)
    numbers = game.numbers
    random.Random(config.seed).shuffle(numbers)
    cuts, seconds = [], 0.0
    for number in numbers:
        if seconds >= 3600 * config.hours:
            break
        samples = resample(game.samples(number), RATE, SAMPLING_RATE)
        if SHORTEST <= len(samples) / SAMPLING_RATE <= LONGEST:
            path = folder / f"sky-{number}.flac"
            soundfile.write(path, samples, SAMPLING_RATE)
            cuts.append(Recording.from_file(path.resolve()).to_cut())
            seconds += cuts[-1].duration
    write_manifest(CutSet.from_cuts(cut.with_id(cut.recording_id) for cut in cuts), folder / "cuts.jsonl.gz")
    logger.info("%s: %d cuts, %.2f h", folder / "cuts.jsonl.gz", len(cuts), seconds / 3600)


def main() -> None:
    (config,) = parse(None, __doc__.split("\n")[0], SkyConfig)
    start_logging()
    with errors_in_one_line():
        write_cuts(config)


if __name__ == "__main__":
    main()
