"""A language of chords, the smallest corpus on which a tiny model can be trained: each of eight words is a chord of its
own, by default 0.32 s long, with pauses of 0.1 s.

    python recipes/shared/chords.py --dir recipes/shared/data/chords --word-seconds 0.2 --pause 0.05
    python lang/train_bpe.py --text recipes/shared/data/chords/text.txt --vocab-size 18 \\
        --lang-dir recipes/shared/data/chords/lang_characters

writes train, dev and test as WAV and cut manifests, and a text with all words. Spelled in characters, a word has five
tokens, for three frames of 80 ms at this pace, so that tokens need durations of 0.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import soundfile
from lhotse import CutSet, Recording, SupervisionSegment
from lhotse.cut import MonoCut

from hainan_k2.cli import errors_in_one_line, parse
from hainan_k2.config import option
from hainan_k2.frontend.audio import SAMPLING_RATE

WORDS = ("alfa", "bravo", "coda", "delta", "echo", "fox", "golf", "hotel")
SETS = {"train": 240, "dev": 40, "test": 100}  # utterances


@dataclass(frozen=True)
class ChordsConfig:
    dir: str = option("", "folder to write to")
    word_seconds: float = option(0.32, "length of a word", at_least=0.05)
    pause: float = option(0.1, "seconds of silence around words", at_least=0)
    seed: int = option(0, "of texts and sounds", at_least=0)

    help_title = "options"


def word_audio(word: str, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """A word's chord, slightly detuned: float64 (N,) at 16 kHz."""
    index = WORDS.index(word)
    time = np.arange(int(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    tones = [np.sin(2 * np.pi * f * rng.uniform(0.99, 1.01) * time) for f in (300 + 250 * index, 3000 + 370 * index)]
    chord: np.ndarray = np.sum(tones, axis=0) * np.hanning(len(time))
    return chord


def make_cuts(folder: Path, name: str, count: int, seed: int, word_seconds: float = 0.32, pause: float = 0.1) -> Path:
    """`count` utterances of 1 to 4 words as WAV and a cut manifest folder/name.jsonl.gz."""
    choose, rng = random.Random(seed), np.random.default_rng(seed)
    cuts = []
    (folder / name).mkdir(parents=True)
    for i in range(count):
        words = [choose.choice(WORDS) for _ in range(choose.randint(1, 4))]
        gap = np.zeros(round(pause * SAMPLING_RATE))
        audio = np.concatenate([gap] + [part for w in words for part in (word_audio(w, word_seconds, rng), gap)])
        audio = 0.2 * audio + 0.003 * rng.standard_normal(len(audio))
        path = folder / name / f"{name}-{i:03d}.wav"
        soundfile.write(path, audio, SAMPLING_RATE)
        recording = Recording.from_file(path)
        supervision = SupervisionSegment(f"{name}-{i:03d}", recording.id, 0, recording.duration, text=" ".join(words))
        cuts.append(MonoCut(f"{name}-{i:03d}", 0, recording.duration, 0, [supervision], recording=recording))
    CutSet.from_cuts(cuts).to_file(folder / f"{name}.jsonl.gz")
    return folder / f"{name}.jsonl.gz"


def make_text(folder: Path) -> Path:
    """A text with every word eight times, folder/text.txt."""
    text = folder / "text.txt"
    text.write_text("\n".join(" ".join(WORDS[i:] + WORDS[:i]) for i in range(len(WORDS))) + "\n", encoding="utf-8")
    return text


def main(argv: Optional[Sequence[str]] = None) -> None:
    (config,) = parse(argv, "Make a corpus of chords.", ChordsConfig)
    with errors_in_one_line():
        if not config.dir:
            raise ValueError("--dir is required")
        folder = Path(config.dir)
        if any((folder / name).exists() for name in SETS):
            raise ValueError(f"{folder} has a corpus already: remove it, or name another folder")
        for i, (name, count) in enumerate(SETS.items()):
            make_cuts(folder, name, count, 3 * config.seed + i, config.word_seconds, config.pause)
        make_text(folder)


if __name__ == "__main__":
    main()
