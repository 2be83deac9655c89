"""A corpus in the layout of LibriSpeech: band-passed noise that swells like syllables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

WORDS = "ALFA BRAVO COCOA DELTA ECHO FOX".split()


def babble(num_samples: int, seed: int) -> np.ndarray:
    """Float64 (N,) at about the level of speech, with loud and faint parts."""
    rng = np.random.default_rng(seed)
    noise = np.convolve(rng.standard_normal(num_samples + 15), np.hanning(16), mode="valid")
    return 0.05 * noise * (1e-3 + np.sin(np.arange(num_samples) / 1500) ** 2)


def write_corpus(root: Path, split: str, utterances: int = 6, speaker: int = 1) -> Path:
    """ROOT/LibriSpeech/SPLIT of one speaker and chapter; returns the folder ROOT/LibriSpeech."""
    chapter = root / "LibriSpeech" / split / str(speaker) / "10"
    chapter.mkdir(parents=True)
    lines = []
    for i in range(utterances):
        name = f"{speaker}-10-{i:04d}"
        soundfile.write(chapter / f"{name}.flac", babble(8000 + 1111 * i, seed=100 * speaker + i), 16000)
        lines.append(f"{name} {' '.join(WORDS[: 1 + i % 6])}\n")
    (chapter / f"{speaker}-10.trans.txt").write_text("".join(lines))
    return root / "LibriSpeech"


def write_cuts(folder: Path, count: int, rate: int = 16000) -> CutSet:
    """`count` cuts of 0.3 to 2.5 s on WAV files at `rate`, with texts."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, cuts = np.random.default_rng(0), []
    for i in range(count):
        name = f"utt{i:03d}"
        samples = babble(int(rate * rng.uniform(0.3, 2.5)), seed=i)
        soundfile.write(folder / f"{name}.wav", samples, rate)
        recording = Recording.from_file(folder / f"{name}.wav", recording_id=name)
        supervision = SupervisionSegment(name, name, 0.0, recording.duration, text=WORDS[i % len(WORDS)])
        cuts.append(MonoCut(name, 0.0, recording.duration, 0, [supervision], recording=recording))
    return CutSet.from_cuts(cuts)
