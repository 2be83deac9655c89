"""A toy language of tones: each word is a chord of its own, so that a tiny model learns it to zero errors."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from lhotse import CutSet, Recording, SupervisionSegment
from lhotse.cut import MonoCut

from hainan_k2.config import PRESETS
from hainan_k2.files.jsonl import read_lines
from hainan_k2.formats.checkpoint import LAST, load_checkpoint
from hainan_k2.frontend.audio import SAMPLING_RATE

ROOT = Path(__file__).parent.parent
WORDS = ("alfa", "bravo", "coda", "delta", "echo", "fox", "golf", "hotel")
WORD_SECONDS = 0.32


def word_audio(word: str, rng: np.random.Generator) -> np.ndarray:
    """A word's chord, slightly detuned."""
    index = WORDS.index(word)
    time = np.arange(int(WORD_SECONDS * SAMPLING_RATE)) / SAMPLING_RATE
    tones = [np.sin(2 * np.pi * f * rng.uniform(0.99, 1.01) * time) for f in (300 + 250 * index, 3000 + 370 * index)]
    return sum(tones) * np.hanning(len(time))


def make_cuts(folder: Path, name: str, count: int, seed: int) -> Path:
    """`count` utterances of 1 to 4 words as WAV and a cut manifest folder/name.jsonl.gz."""
    choose, rng = random.Random(seed), np.random.default_rng(seed)
    cuts = []
    (folder / name).mkdir(parents=True)
    for i in range(count):
        words = [choose.choice(WORDS) for _ in range(choose.randint(1, 4))]
        gap = np.zeros(SAMPLING_RATE // 10)
        audio = np.concatenate([gap] + [part for w in words for part in (word_audio(w, rng), gap)])
        audio = 0.2 * audio + 0.003 * rng.standard_normal(len(audio))
        path = folder / name / f"{name}-{i:03d}.wav"
        soundfile.write(path, audio, SAMPLING_RATE)
        recording = Recording.from_file(path)
        supervision = SupervisionSegment(f"{name}-{i:03d}", recording.id, 0, recording.duration, text=" ".join(words))
        cuts.append(MonoCut(f"{name}-{i:03d}", 0, recording.duration, 0, [supervision], recording=recording))
    CutSet.from_cuts(cuts).to_file(folder / f"{name}.jsonl.gz")
    return folder / f"{name}.jsonl.gz"


def make_lang(folder: Path) -> Path:
    """A BPE of whole words."""
    import subprocess

    text = folder / "text.txt"
    text.write_text("\n".join(" ".join(WORDS[i:] + WORDS[:i]) for i in range(len(WORDS))) + "\n")
    subprocess.run(
        [
            sys.executable,
            ROOT / "lang" / "train_bpe.py",
            "--text",
            text,
            "--vocab-size",
            "40",
            "--lang-dir",
            folder / "lang",
        ],
        check=True,
        capture_output=True,
    )
    return folder / "lang"


def decode_command(folder: Path, exp: str, *options: str) -> list[str]:
    """Arguments of decode.py for the toy's dev set; `exp` is in `folder`, or a path."""
    cuts, lang = str(folder / "dev.jsonl.gz"), str(folder / "lang")
    return ["--exp-dir", str(folder / exp), "--cuts", cuts, "--lang-dir", lang, "--num-workers", "0", *options]


def train_command(folder: Path, exp: str, *options: str) -> list[str]:
    """Arguments of train.py for the toy task."""
    assert "tiny" in PRESETS
    return [
        "--exp-dir",
        str(folder / exp),
        "--train-cuts",
        str(folder / "train.jsonl.gz"),
        "--dev-cuts",
        str(folder / "dev.jsonl.gz"),
        "--lang-dir",
        str(folder / "lang"),
        "--preset",
        "tiny",
        "--max-duration",
        "20",
        "--num-workers",
        "0",
        "--spec-augment",
        "false",
        "--warmup-updates",
        "20",
        "--lr",
        "3e-3",
        *options,
    ]


def losses(exp_dir: Path) -> list[tuple[int, float]]:
    """(update, loss) of every update, as logged."""
    return [(line["update"], line["loss"]) for line in read_lines(exp_dir / "updates.jsonl")]


def assert_trained_as(whole: Path, resumed: Path) -> None:
    """Losses and weights of an experiment that was killed and continued are those of one that was not.

    They are equal with torch 1.13. On torch 2.13 the losses of two processes differed by a factor of 1 + 1e-7 from the
    14th update on.
    """
    ours, theirs = (load_checkpoint(folder / LAST)["model"] for folder in (resumed, whole))
    assert list(ours) == list(theirs)
    if torch.__version__.startswith("1."):
        assert losses(resumed) == losses(whole)
        assert all(torch.equal(ours[name], value) for name, value in theirs.items())
        return
    assert [update for update, _ in losses(resumed)] == [update for update, _ in losses(whole)]
    assert [loss for _, loss in losses(resumed)] == pytest.approx([loss for _, loss in losses(whole)], rel=1e-5)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-3, atol=1e-4)
