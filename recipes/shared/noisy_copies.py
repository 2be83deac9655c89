"""Noisy copies of a cut set, for tests of robustness: one manifest with every utterance in every condition.

    python recipes/shared/noisy_copies.py --cuts test.jsonl.gz --babble dev.jsonl.gz --music MUSIC --out-dir noisy

clean                     the utterance as it is
babble-20 ... babble-0    six utterances of the cuts --babble at once, at a signal-to-noise ratio of 20, 10, 5 and 0 dB
music-20 ... music-0      recordings of the folder --music
room-near, room-far       reverberation of 0.4 s, direct sound 5 dB above it; of 0.8 s, 3 dB below it
speed-0.8 ... speed-1.25  resampled, which changes the pitch too: lhotse's perturb_speed
telephone                 300 to 3400 Hz, 8 bit mu-law

The id of a copy is ID@CONDITION, by which robustness.py groups what was decoded. The same seed gives the same copies,
whatever other conditions and utterances are asked for. Audio is written to OUT_DIR/CONDITION/ID.flac, the manifest to
OUT_DIR/PREFIX_cuts_SPLIT.jsonl.gz, which compute_features.py and decode.py read.
"""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import soundfile
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

from hainan_k2.cli import errors_in_one_line, parse, start_logging
from hainan_k2.config import option
from hainan_k2.data.augment import generator
from hainan_k2.data.cuts import open_cuts
from hainan_k2.data.manifests import manifest_name, write_manifest
from hainan_k2.data.waves import add_noise, excerpt, read_noises, reverberate, telephone
from hainan_k2.frontend.audio import SAMPLING_RATE

logger = logging.getLogger("noisy_copies")

RATIOS = ("20", "10", "5", "0")  # dB
VOICES = 6  # of babble
ROOMS = {"near": (0.4, 5.0), "far": (0.8, -3.0)}  # reverberation time in seconds, direct to reverberant energy in dB
SPEEDS = ("0.8", "0.9", "1.1", "1.25")
MARK = "@"  # between the id of an utterance and its condition


@dataclass(frozen=True)
class CopiesConfig:
    cuts: str = option("", "lhotse cuts with audio, one supervision each")
    babble: str = option("", "lhotse cuts of other speakers; without them there is no babble")
    music: str = option("", "folder of recordings; without it there is no music")
    every: int = option(1, "take every N-th utterance", at_least=1)
    seed: int = option(0, "of the noises and rooms", at_least=0)
    split: str = option("noisy", "name of the split to write")
    prefix: str = option("", "first part of the names of manifests")
    out_dir: str = option("", "folder for audio and manifest")

    help_title, help_example = "options", "--cuts cuts_test.jsonl.gz --babble cuts_dev.jsonl.gz --out-dir noisy"

    def __post_init__(self) -> None:
        if MARK in self.split:
            raise ValueError(f"split is {self.split}: {MARK} separates ids and conditions")


@dataclass(frozen=True)
class Noises:
    """What is mixed into speech: recordings of music, each (M,) at 16 kHz, and cuts of speech."""

    music: Sequence[np.ndarray]
    speech: Sequence[MonoCut]

    def conditions(self) -> list[str]:
        """The conditions that can be made with these noises, in the order of the module's table."""
        noises = [name for name, given in (("babble", self.speech), ("music", self.music)) if given]
        mixed = [f"{name}-{ratio}" for name in noises for ratio in RATIOS]
        return ["clean", *mixed, *(f"room-{r}" for r in ROOMS), *(f"speed-{s}" for s in SPEEDS), "telephone"]

    def make(self, cut: MonoCut, condition: str, seed: int) -> np.ndarray:
        """The samples (N,) of a cut in a condition; N changes with the speed alone."""
        kind, _, value = condition.partition("-")
        rng = generator(seed, 0, f"{cut.id}{MARK}{kind}")  # at every ratio the same noise
        if kind == "speed":
            return samples_of(cut.perturb_speed(float(value)))
        samples = samples_of(cut)
        if kind == "babble":
            return add_noise(samples, babble(self.speech, len(samples), rng), float(value))
        if kind == "music":
            return add_noise(samples, excerpt(rng.choice(self.music), len(samples), rng), float(value))
        if kind == "room":
            return reverberate(samples, *ROOMS[value], rng)
        return telephone(samples) if kind == "telephone" else samples


def babble(speech: Sequence[MonoCut], length: int, rng: random.Random) -> np.ndarray:
    """(length,) samples of VOICES utterances at once, at equal power, each repeated from a random position on."""
    total = np.zeros(length)
    for cut in rng.sample(speech, VOICES):
        samples = samples_of(cut)
        power = np.mean(np.square(samples, dtype=np.float64))
        total += excerpt(samples, length, rng) / np.sqrt(power or 1.0)
    return total


def samples_of(cut: MonoCut) -> np.ndarray:
    """The samples (N,) of a cut with one channel, at 16 kHz. Raises ValueError where it has no such audio."""
    if not cut.has_recording or cut.num_channels != 1:
        raise ValueError(f"cut {cut.id} is no single channel of a recording")
    samples: np.ndarray = cut.load_audio()[0]
    return samples


def write_cut(samples: np.ndarray, name: str, supervision: SupervisionSegment, path: Path) -> MonoCut:
    """Write samples (N,) to a FLAC file. Returns a cut of it with the text and the speaker of a supervision."""
    path.parent.mkdir(parents=True, exist_ok=True)
    loudest = np.max(np.abs(samples), initial=0.0)
    soundfile.write(path, samples / max(1.0, loudest), SAMPLING_RATE, subtype="PCM_16")  # never clipped
    recording = Recording.from_file(path.resolve(), recording_id=name)
    spoken = SupervisionSegment(name, name, 0.0, recording.duration, text=supervision.text, speaker=supervision.speaker)
    return MonoCut(name, 0.0, recording.duration, 0, recording=recording, supervisions=[spoken])


def copies(cuts: Iterable[MonoCut], noises: Noises, seed: int, out_dir: Path) -> Iterator[MonoCut]:
    """Every cut in every condition. Raises ValueError for cuts without a single supervision, and for marked ids."""
    for cut in cuts:
        if len(cut.supervisions) != 1 or MARK in cut.id:
            raise ValueError(f"cut {cut.id} has {len(cut.supervisions)} supervisions: one, and no {MARK} in its id")
        for condition in noises.conditions():
            samples = noises.make(cut, condition, seed)
            path = out_dir / condition / f"{cut.id}.flac"
            yield write_cut(samples, f"{cut.id}{MARK}{condition}", cut.supervisions[0], path)


def main(argv: Optional[Sequence[str]] = None) -> None:
    (config,) = parse(argv, "Make noisy copies of a cut set.", CopiesConfig)
    start_logging()
    with errors_in_one_line():
        if not config.cuts or not config.out_dir:
            raise ValueError("--cuts and --out-dir are required")
        music = read_noises(config.music) if config.music else []
        speech = list(open_cuts(config.babble)) if config.babble else []
        if speech and len(speech) < VOICES:
            raise ValueError(f"--babble {config.babble} has {len(speech)} utterances: at least {VOICES} are needed")
        out_dir, noises = Path(config.out_dir), Noises(music, speech)
        cuts = list(open_cuts(config.cuts))[:: config.every]
        made = CutSet.from_cuts(copies(cuts, noises, config.seed, out_dir))
        manifest = out_dir / manifest_name(config.prefix, "cuts", config.split)
        write_manifest(made, manifest)
        logger.info("%s: %d utterances in %d conditions", manifest, len(cuts), len(noises.conditions()))


if __name__ == "__main__":
    main()
