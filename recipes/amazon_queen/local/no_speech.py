"""Makes training clips in which nobody speaks, with empty transcripts: a model trained on speech alone hears words in
silence.

    python no_speech.py --noise-dir data/noise --dir data/corpus/no-speech --hours 1 \
        --manifest data/manifests/librispeech_cuts_no-speech.jsonl.gz

A quarter of the clips is digital silence, a quarter noise of one level, a quarter noise that swells and fades above the
hum of the mains, and a quarter parts of the recordings in --noise-dir. The same options give the same bytes.
"""

from __future__ import annotations

import logging
import random
from dataclasses import MISSING, dataclass
from pathlib import Path

import numpy as np
import soundfile
from lhotse import CutSet, Recording, SupervisionSegment
from lhotse.cut import Cut

from hainan_k2.cli import errors_in_one_line, parse, start_logging
from hainan_k2.config import option
from hainan_k2.data.manifests import write_manifest
from hainan_k2.data.waves import coloured_noise, excerpt, read_noises
from hainan_k2.frontend.audio import SAMPLING_RATE

logger = logging.getLogger(__name__)

LENGTH = (0.4, 12.0)  # seconds of a clip; short ones are more likely
LEVEL = (-80.0, -20.0)  # dB: RMS against full scale
MAINS = (50.0, 60.0)  # Hz
HARMONICS = 8


@dataclass(frozen=True)
class NoSpeechConfig:
    noise_dir: str = option(MISSING, "folder of recordings of noise or music, without speech")
    dir: str = option(MISSING, "folder to write the FLAC files to")
    manifest: str = option(MISSING, "cut manifest to write, .jsonl.gz")
    hours: float = option(1.0, "hours of clips", above=0)
    seed: int = option(0, "random seed", at_least=0)


def hum(length: int, rng: random.Random) -> np.ndarray:
    """(length,) the hum of the mains: harmonics of 50 or 60 Hz of random strengths and phases."""
    time, mains = np.arange(length) / SAMPLING_RATE, rng.choice(MAINS)
    return sum(
        rng.random() / k * np.sin(2 * np.pi * (k * mains * time + rng.random())) for k in range(1, HARMONICS + 1)
    )


def swelling(length: int, rng: random.Random) -> np.ndarray:
    """(length,) gains between -40 and 0 dB that change about once a second."""
    points = 2 + length // SAMPLING_RATE
    decibels = np.interp(
        np.linspace(0, points - 1, length), range(points), [rng.uniform(-40, 0) for _ in range(points)]
    )
    return 10 ** (decibels / 20)


def at_level(samples: np.ndarray, level: float) -> np.ndarray:
    """Samples (N,) with an RMS of `level` dB against full scale, and clipped there; all zeros stay all zeros."""
    power = np.mean(np.square(samples))
    return np.clip(samples * np.sqrt(10 ** (level / 10) / power), -1, 1) if power > 0 else samples


def clip(number: int, rng: random.Random, noises: list[np.ndarray]) -> np.ndarray:
    """The samples (N,) of a clip at 16 kHz: the kinds of clips take turns."""
    shortest, longest = LENGTH
    length = round(shortest * (longest / shortest) ** rng.random() * SAMPLING_RATE)
    if number % 4 == 0:
        return np.zeros(length)
    if number % 4 == 1:
        samples = coloured_noise(length, rng.uniform(0, 2), rng)
    elif number % 4 == 2:
        noise = coloured_noise(length, rng.uniform(0, 2), rng) * swelling(length, rng)
        samples = at_level(noise, 0) + rng.random() * at_level(hum(length, rng), 0)
    else:
        samples = excerpt(rng.choice(noises), length, rng)
    return at_level(samples, rng.uniform(*LEVEL))


def make_clips(config: NoSpeechConfig) -> list[Cut]:
    """Write the clips, and return a cut of each. Raises ValueError where noise_dir has no audio."""
    rng, noises, folder = random.Random(config.seed), read_noises(config.noise_dir), Path(config.dir)
    folder.mkdir(parents=True, exist_ok=True)
    cuts, seconds = [], 0.0
    while seconds < 3600 * config.hours:
        name = f"no-speech-{len(cuts)}"
        path = folder / f"{name}.flac"
        soundfile.write(path, clip(len(cuts), rng, noises), SAMPLING_RATE)
        cut = Recording.from_file(path.resolve(), recording_id=name).to_cut().with_id(name)
        cut.supervisions = [SupervisionSegment(name, name, 0.0, cut.duration, text="")]
        cuts.append(cut)
        seconds += cut.duration
    return cuts


def main() -> None:
    (config,) = parse(None, __doc__.split("\n\n")[0], NoSpeechConfig)
    start_logging()
    with errors_in_one_line():
        cuts = make_clips(config)
        write_manifest(CutSet.from_cuts(cuts), Path(config.manifest))
        logger.info("%s: %d cuts, %.2f h", config.manifest, len(cuts), sum(cut.duration for cut in cuts) / 3600)


if __name__ == "__main__":
    main()
