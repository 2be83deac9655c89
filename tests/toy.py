"""A toy language of tones: each word is a chord of its own, so that a tiny model learns it to zero errors."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from hainan_k2.config import PRESETS
from hainan_k2.files.jsonl import read_lines
from hainan_k2.formats.checkpoint import LAST, load_checkpoint
from recipes.shared.chords import make_text

ROOT = Path(__file__).parent.parent


def make_lang(folder: Path) -> Path:
    """A BPE of whole words."""
    import subprocess

    text = make_text(folder)
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
