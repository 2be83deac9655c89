"""A chapter of synthetic speech: one speaker reads a list of sentences."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

sys.path.append(str(Path(__file__).resolve().parents[2] / "shared"))
from voice import RATE, Speaker, Voice

PAUSE_PROBABILITY = 0.03  # of a silence between two words; the synthesizer adds its own at commas


@dataclass(frozen=True)
class Chapter:
    """The sentences of one speaker in one folder: (normal form, form to read) pairs, as `with_pauses` returns them."""

    speaker: Speaker
    number: int
    sentences: tuple[tuple[str, str], ...]
    folder: Path
    seed: int

    @property
    def transcript(self) -> Path:
        """Path of the transcript."""
        return self.folder / f"{self.speaker.id}-{self.number}.trans.txt"


_voices: list[Voice] = []  # at most one: each process loads it once


def speak_chapter(chapter: Chapter) -> tuple[float, int]:
    """Synthesize a chapter; returns (seconds of speech, number of sentences left out).

    A sentence is left out if the synthesizer's phones do not match its words one to one. The transcript is written
    last: it marks a complete chapter.
    """
    if not _voices:
        _voices.append(Voice())
    chapter.folder.mkdir(parents=True, exist_ok=True)
    transcript, seconds = [], 0.0
    for i, (normal, text) in enumerate(chapter.sentences):
        rng = np.random.default_rng([chapter.seed, chapter.number, i])
        try:
            wave, _ = _voices[0].speak(text, chapter.speaker, rng, PAUSE_PROBABILITY)
        except ValueError:
            continue
        name = f"{chapter.speaker.id}-{chapter.number}-{i:04d}"
        soundfile.write(chapter.folder / f"{name}.flac", wave, RATE, subtype="PCM_16")
        transcript.append(f"{name} {normal}\n")
        seconds += len(wave) / RATE
    part = chapter.transcript.with_suffix(".part")
    part.write_text("".join(transcript), encoding="utf-8")
    os.replace(part, chapter.transcript)
    return seconds, len(chapter.sentences) - len(transcript)
