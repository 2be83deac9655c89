"""Utterances that repeat one digit, "three three three three", synthesised: the TDT paper's test of what a transducer
writes where the words do not tell where it is (arXiv 2304.06795).

    python recipes/shared/repeated_words.py --out-dir repeats

Every digit, 2 to 8 times, by pseudo-speakers at three paces, with random pauses between the words. Writes audio and a
manifest in the way of noisy_copies.py; the condition of an utterance is repeat-2 ... repeat-8.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from lhotse import CutSet, MonoCut, SupervisionSegment
from noisy_copies import MARK, write_cut
from voice import Speaker, Voice

from hainan_k2.cli import errors_in_one_line, parse, start_logging
from hainan_k2.config import option
from hainan_k2.data.manifests import manifest_name, write_manifest

logger = logging.getLogger("repeated_words")

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
REPEATS = range(2, 9)
PACES = (0.8, 1.0, 1.25)  # factors on the speaking rate


@dataclass(frozen=True)
class RepeatsConfig:
    out_dir: str = option("", "folder for audio and manifest")
    voices: int = option(2, "pseudo-speakers", at_least=1)
    seed: int = option(0, "of pseudo-speakers and pauses", at_least=0)
    prefix: str = option("", "first part of the names of manifests")

    help_title = "options"


def draw_speakers(count: int, seed: int) -> list[Speaker]:
    """Pseudo-speakers whose pitch is spread evenly, everything else at random; quiet rooms."""
    rng = np.random.default_rng(seed)
    pitches = 0.65 + 0.5 * (np.arange(count) + rng.random(count)) / count
    return [
        Speaker(i, float(pitch), rng.uniform(0.9, 1.1), 1.0, rng.uniform(-0.2, 0.4), 40.0)
        for i, pitch in enumerate(pitches)
    ]


def utterances(voice: Voice, speakers: Sequence[Speaker], seed: int, out_dir: Path) -> Iterator[MonoCut]:
    """A cut of every digit, number of repeats, speaker and pace."""
    for number, digit in enumerate(DIGITS):
        for repeats in REPEATS:
            for speaker in speakers:
                for i, pace in enumerate(PACES):
                    rng = np.random.default_rng([seed, number, repeats, speaker.id, i])
                    paced = Speaker(speaker.id, speaker.pitch, speaker.formants, pace, speaker.tilt, speaker.snr)
                    text = " ".join([digit] * repeats)
                    samples, _ = voice.speak(text, paced, rng)
                    name = f"{digit}-{repeats}-{speaker.id}-{pace}"
                    supervision = SupervisionSegment(name, name, 0.0, 1.0, text=text, speaker=f"voice-{speaker.id}")
                    path = out_dir / "repeats" / f"{name}.flac"
                    yield write_cut(samples, f"{name}{MARK}repeat-{repeats}", supervision, path)


def main(argv: Optional[Sequence[str]] = None) -> None:
    (config,) = parse(argv, "Synthesise utterances that repeat a digit.", RepeatsConfig)
    start_logging()
    with errors_in_one_line():
        if not config.out_dir:
            raise ValueError("--out-dir is required")
        out_dir = Path(config.out_dir)
        cuts = list(utterances(Voice(), draw_speakers(config.voices, config.seed), config.seed, out_dir))
        manifest = out_dir / manifest_name(config.prefix, "cuts", "repeats")
        write_manifest(CutSet.from_cuts(cuts), manifest)
        logger.info("%s: %d utterances, %.1f min", manifest, len(cuts), sum(cut.duration for cut in cuts) / 60)


if __name__ == "__main__":
    main()
