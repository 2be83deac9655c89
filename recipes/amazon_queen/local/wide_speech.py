"""Synthetic speech that reads given sentences in many voices, for training: a split in the folders of LibriSpeech.

    python wide_speech.py --text data/text/brown.written.txt --dir data/corpus/wide-brown --hours 8

Writes DIR/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NNNN.flac (16 kHz) and SPEAKER-CHAPTER.trans.txt with the normal form.
The pseudo-speakers are those of the synthetic LibriSpeech corpus. The same options give the same bytes, more hours
begin with the same chapters as fewer, and a run that was cut off goes on with the chapters that are missing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import random
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from hainan_k2.cli import fail, parse
from hainan_k2.config import option
from hainan_k2.text import normalise

sys.path.append(str(Path(__file__).resolve().parents[2] / "shared"))
from voice import RATE, Speaker, Voice

SPEAKERS = 240
CHAPTER = 24  # utterances
PAUSE_PROBABILITY = 0.03  # of silence between two words, beside the synthesizer's own at commas
# Where a reader pauses; the stop of a title or an initial is no such place.
PAUSE = re.compile(r"(?<!\bMr)(?<!\bMrs)(?<!\bDr)(?<!\b[A-Za-z])\.(?=\s)|[,;:?!]+(?=[\s\"])|--+|\"")


@dataclass(frozen=True)
class WideConfig:
    text: str = option("", "text file, one sentence a line, as it is written (required)")
    dir: str = option("", "folder of the split (required)")
    hours: float = option(8.0, "hours of speech, about; less if the sentences do not suffice", above=0)
    min_words: int = option(3, "fewest words of a sentence", at_least=1)
    max_words: int = option(20, "most words of a sentence", at_least=1)
    seed: int = option(0, "seed of order, speakers and noise; splits of other seeds share no speaker", at_least=0)
    jobs: int = option(2, "processes", at_least=1)


@dataclass(frozen=True)
class Chapter:
    """What one speaker says in one folder, (normal form, to be said) each: the unit of work."""

    speaker: Speaker
    number: int
    sentences: tuple[tuple[str, str], ...]
    folder: Path
    seed: int

    @property
    def transcript(self) -> Path:
        return self.folder / f"{self.speaker.id}-{self.number}.trans.txt"


def spoken(written: str) -> tuple[str, str]:
    """The normal form of a text and the same words with commas where a reader pauses and a mark at the end."""
    normal = normalise(written)
    clauses = list(filter(None, map(normalise, PAUSE.split(written))))
    if " ".join(clauses) != normal:  # a number or a bracket goes across
        clauses = [normal]
    return normal, ", ".join(clauses) + ("?" if re.search(r"\?\W*$", written) else ".")


def draw_speakers(seed: int) -> list[Speaker]:
    """Pseudo-speakers: pitch and formants each spread evenly over the range, all else random."""
    rng = np.random.default_rng([seed, SPEAKERS])
    pitch, formants = ((rng.permutation(SPEAKERS) + rng.random(SPEAKERS)) / SPEAKERS for _ in range(2))
    return [
        Speaker(
            1000 * (seed + 1) + i,
            pitch=0.6 + 0.6 * pitch[i],
            formants=0.86 + 0.3 * formants[i],
            pace=rng.uniform(0.88, 1.25),
            tilt=rng.uniform(-0.2, 0.4),
            snr=rng.uniform(20, 45),
        )
        for i in range(SPEAKERS)
    ]


def sentences(lines: Iterable[str], config: WideConfig) -> list[tuple[str, str]]:
    """The distinct sentences of the wanted lengths in the seed's order. ValueError if there are none."""
    found = dict(map(spoken, lines))
    chosen = [pair for pair in found.items() if config.min_words <= len(pair[0].split()) <= config.max_words]
    if not chosen:
        raise ValueError(f"{config.text} has no sentence of {config.min_words} to {config.max_words} words")
    random.Random(config.seed).shuffle(chosen)
    return chosen


def plan(chosen: list[tuple[str, str]], config: WideConfig) -> Iterator[Chapter]:
    """Chapters of about `hours` in all: the speakers take turns."""
    speakers, planned = draw_speakers(config.seed), 0.0
    for number, start in enumerate(range(0, len(chosen), CHAPTER)):
        if planned >= config.hours * 3600:
            return
        speaker, said = speakers[number % SPEAKERS], tuple(chosen[start : start + CHAPTER])
        folder = Path(config.dir) / str(speaker.id) / str(number)
        yield Chapter(speaker, number, said, folder, config.seed)
        planned += sum(1.2 + 0.052 * len(normal) for normal, _ in said)  # about how long it will be


def claim(chosen: list[tuple[str, str]], config: WideConfig) -> None:
    """Notes seed and sentences beside the split; ValueError if it was begun with others."""
    folder = Path(config.dir)
    digest = hashlib.sha256("\n".join(text for pair in chosen for text in pair).encode()).hexdigest()
    settings = json.dumps({"seed": config.seed, "sentences": digest})
    note = folder / "wide.json"
    if note.exists() and note.read_text(encoding="utf-8") != settings:
        raise ValueError(f"{folder} holds speech of other sentences: remove it or give another --dir")
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(settings, encoding="utf-8")


_voices: list[Voice] = []  # at most one: loaded once a process


def speak_chapter(chapter: Chapter) -> tuple[float, int]:
    """Writes a chapter, its transcript last: a chapter that has one is whole.

    Returns seconds of speech and how many sentences the synthesizer does not say word by word: they are left out.
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


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    (config,) = parse(None, __doc__.split("\n")[0], WideConfig)
    if not config.text or not config.dir or config.hours <= 0 or config.jobs < 1 or config.min_words < 1:
        fail("give --text and --dir, and --hours, --jobs and --min-words above 0")
    try:
        with open(config.text, encoding="utf-8") as lines:
            chosen = sentences(lines, config)
        claim(chosen, config)
    except (ValueError, OSError) as error:
        fail(str(error))
    chapters = list(plan(chosen, config))
    waiting = [chapter for chapter in chapters if not chapter.transcript.exists()]
    said = sum(len(chapter.sentences) for chapter in chapters)
    logging.info(
        "%d of %d sentences in %d chapters, %d of them to be spoken", said, len(chosen), len(chapters), len(waiting)
    )
    total: Counter = Counter()
    with multiprocessing.get_context("spawn").Pool(config.jobs) as pool:
        for done, (seconds, skipped) in enumerate(pool.imap_unordered(speak_chapter, waiting), start=1):
            total.update(seconds=seconds, skipped=skipped)
            if done % 50 == 0 or done == len(waiting):
                logging.info(
                    "%d of %d chapters, %.2f hours of speech; %d sentences left out: not said word by word",
                    done,
                    len(waiting),
                    total["seconds"] / 3600,
                    total["skipped"],
                )


if __name__ == "__main__":
    main()
