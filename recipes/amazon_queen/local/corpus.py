"""Writes utterances in the folders of LibriSpeech, which every stage after it reads.

DIR/SPEAKER/SOURCE/SPEAKER-SOURCE-NAME.flac (16 kHz), and SPEAKER-SOURCE.trans.txt with their names and texts.
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
    """`samples` (N,) float32 in [-1, 1] at `rate` Hz; no dash in speaker, source and name."""

    speaker: str
    source: str
    name: str
    text: str
    samples: np.ndarray
    rate: int = SAMPLING_RATE


def write_split(utterances: Iterable[Utterance], folder: Path) -> tuple[int, float]:
    """Writes a split, the transcripts last: a chapter that has one is whole. Returns its utterances and seconds."""
    transcripts: dict[Path, list[str]] = defaultdict(list)
    seconds = 0.0
    for said in utterances:
        chapter = f"{said.speaker}-{said.source}"
        place = folder / said.speaker / said.source
        place.mkdir(parents=True, exist_ok=True)
        samples = resample(said.samples, said.rate, SAMPLING_RATE)
        soundfile.write(place / f"{chapter}-{said.name}.flac", samples, SAMPLING_RATE)
        transcripts[place / f"{chapter}.trans.txt"].append(f"{chapter}-{said.name} {said.text}\n")
        seconds += len(samples) / SAMPLING_RATE
    for path, lines in transcripts.items():
        path.with_suffix(".part").write_text("".join(lines), encoding="utf-8")
        os.replace(path.with_suffix(".part"), path)
    return sum(map(len, transcripts.values())), seconds
