"""Writes utterances in the folder structure of LibriSpeech, which all later stages read.

DIR/SPEAKER/SOURCE/SPEAKER-SOURCE-NAME.flac (16 kHz), and SPEAKER-SOURCE.trans.txt with the names and texts.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from hainan_k2.frontend.audio import SAMPLING_RATE, resample


@dataclass(frozen=True)
class Utterance:
    """`samples` (N,) float32 in [-1, 1] at `rate` Hz. Speaker, source and name must not contain a dash."""

    speaker: str
    source: str
    name: str
    text: str
    samples: np.ndarray
    rate: int = SAMPLING_RATE


def write_split(utterances: Iterable[Utterance], folder: Path) -> tuple[int, float]:
    """Write a split; returns (number of utterances, seconds).

    Transcripts are written last: a folder with a transcript is complete.
    """
    transcripts: dict[Path, list[str]] = defaultdict(list)
    seconds = 0.0
    for utterance in utterances:
        chapter = f"{utterance.speaker}-{utterance.source}"
        chapter_dir = folder / utterance.speaker / utterance.source
        chapter_dir.mkdir(parents=True, exist_ok=True)
        samples = resample(utterance.samples, utterance.rate, SAMPLING_RATE)
        soundfile.write(chapter_dir / f"{chapter}-{utterance.name}.flac", samples, SAMPLING_RATE)
        transcripts[chapter_dir / f"{chapter}.trans.txt"].append(f"{chapter}-{utterance.name} {utterance.text}\n")
        seconds += len(samples) / SAMPLING_RATE
    for path, lines in transcripts.items():
        path.with_suffix(".part").write_text("".join(lines), encoding="utf-8")
        os.replace(path.with_suffix(".part"), path)
    return sum(map(len, transcripts.values())), seconds
