"""Makes a synthetic speech corpus: random phrases by pseudo-speakers, in the folder structure of LibriSpeech.

    python synth_corpus.py --dir download/synth --grammar conf/synth_small.grammar --hours 2

Silences of random length come before, between and after the words; they contain the speaker's noise. Writes to
DIR/LibriSpeech/SPLIT/SPEAKER/CHAPTER:

    SPEAKER-CHAPTER-NNNN.flac         audio, 16 kHz
    SPEAKER-CHAPTER.trans.txt         transcripts
    SPEAKER-CHAPTER.alignment.txt     true word times, from the synthesizer's phone durations, in the format of the
                                      LibriSpeech alignments that lhotse reads

The splits share no sentence and no pseudo-speaker. The same options give the same bytes. If a run is interrupted, the
next one makes the missing chapters.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import multiprocessing
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile

from hainan_k2.cli import fail, parse
from hainan_k2.config import option

sys.path.append(str(Path(__file__).resolve().parents[2] / "shared"))
from voice import RATE, Speaker, Voice, Word

logger = logging.getLogger(__name__)

SPLITS = {"train-clean-100": (100, 96), "dev-clean": (200, 4), "test-clean": (300, 8)}  # first id, speakers
CHAPTER = 24  # utterances, at most
ALONE = 0.2  # share of the training speech that is single words; they make the start of training faster


@dataclass(frozen=True)
class CorpusConfig:
    dir: str = option("", "folder to write to (required)")
    grammar: str = option("", "grammar text of the sentences, in the language of lang/README.md (required)")
    hours: float = option(2.0, "approximate hours of training speech; dev has a ninth of it, test two ninths", above=0)
    seed: int = option(0, "random seed of sentences, speakers and noise", at_least=0)
    jobs: int = option(2, "number of processes", at_least=1)


@dataclass(frozen=True)
class Chapter:
    """The sentences of one speaker in one folder; one process makes a chapter at a time."""

    speaker: Speaker
    number: int
    sentences: tuple[str, ...]
    folder: Path
    seed: int

    def file(self, kind: str) -> Path:
        """Path of the text file of a kind, "trans" or "alignment"."""
        return self.folder / f"{self.speaker.id}-{self.number}.{kind}.txt"


def draw_speakers(split: str, seed: int) -> list[Speaker]:
    """The speakers of a split: pitch and formants evenly spread over their ranges, everything else random."""
    first, count = SPLITS[split]
    rng = np.random.default_rng([seed, first])
    pitch, formants = ((rng.permutation(count) + rng.random(count)) / count for _ in range(2))
    return [
        Speaker(
            first + i,
            pitch=0.6 + 0.55 * pitch[i],
            formants=0.86 + 0.3 * formants[i],
            pace=rng.uniform(0.88, 1.15),
            tilt=rng.uniform(-0.2, 0.4),
            snr=rng.uniform(25, 45),
        )
        for i in range(count)
    ]


def draw_texts(texts: Iterator[str], seconds: float) -> list[str]:
    """Take texts until they are about `seconds` of speech."""
    drawn = []
    while seconds > 0:
        drawn.append(next(texts))
        seconds -= 1.05 + 0.06 * len(drawn[-1])  # silences included
    return drawn


def plan(config: CorpusConfig) -> list[Chapter]:
    """All chapters: speakers and sentences. No sentence is repeated; the training split also has every word alone."""
    # Imported here, because the processes that only speak need neither torch nor the grammar.
    from hainan_k2.fsa.language.grammar_sampling import distinct_sentences
    from hainan_k2.fsa.language.grammar_text import parse_grammar

    rules = parse_grammar(Path(config.grammar).read_text(encoding="utf-8"), config.grammar)
    sentences = distinct_sentences(rules, random.Random(config.seed))
    train = config.hours * 3600
    seconds = {
        "train-clean-100": train,
        "dev-clean": min(max(train / 9, 40), 600),
        "test-clean": min(max(train * 2 / 9, 80), 1200),
    }
    chapters = []
    for split in SPLITS:
        alone = ALONE if split == "train-clean-100" else 0.0
        texts = draw_texts(sentences, (1 - alone) * seconds[split])
        texts += draw_texts(itertools.cycle(sorted({w for t in texts for w in t.split()})), alone * seconds[split])
        speakers = draw_speakers(split, config.seed)
        size = min(CHAPTER, math.ceil(len(texts) / len(speakers)))
        for number, start in enumerate(range(0, len(texts), size), start=1000):
            speaker = speakers[number % len(speakers)]
            folder = Path(config.dir) / "LibriSpeech" / split / str(speaker.id) / str(number)
            chapters.append(Chapter(speaker, number, tuple(texts[start : start + size]), folder, config.seed))
    return chapters


def claim(config: CorpusConfig, chapters: list[Chapter]) -> None:
    """Write settings and speakers to the folder; ValueError if it has a corpus with other settings."""
    folder = Path(config.dir)
    grammar = Path(config.grammar).read_text(encoding="utf-8")
    settings = json.dumps({"hours": config.hours, "seed": config.seed, "grammar": grammar}, indent=1)
    note = folder / "synth.json"
    if note.exists() and note.read_text(encoding="utf-8") != settings:
        raise ValueError(f"{folder} has a corpus with other settings: remove it or give another --dir")
    (folder / "LibriSpeech").mkdir(parents=True, exist_ok=True)
    note.write_text(settings, encoding="utf-8")
    speakers = {chapter.speaker.id: chapter.speaker for chapter in chapters}
    lines = (" | ".join(f"{key} {value:.4g}" for key, value in asdict(s).items()) for s in speakers.values())
    (folder / "LibriSpeech" / "SPEAKERS.TXT").write_text("\n".join(lines) + "\n", encoding="utf-8")


def alignment_line(name: str, words: list[Word], duration: float) -> str:
    """A line of a LibriSpeech alignment file: the words in quotes, empty for silence, and the end time of each."""
    items, now = [], 0.0
    for word, start, end in [*words, ("", duration, duration)]:
        if start - now > 5e-4:
            items.append(("", start))
        if word:
            items.append((word.upper(), end))
        now = end
    return f'{name} "{",".join(word for word, _ in items)}" "{",".join(f"{end:.3f}" for _, end in items)}"'


_voices: list[Voice] = []  # at most one: each process loads it once


def speak_chapter(chapter: Chapter) -> float:
    """Synthesize a chapter; returns seconds of speech. The transcript is written last: it marks a complete chapter."""
    if not _voices:
        _voices.append(Voice())
    chapter.folder.mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[str]] = {"alignment": [], "trans": []}
    seconds = 0.0
    for i, text in enumerate(chapter.sentences):
        name = f"{chapter.speaker.id}-{chapter.number}-{i:04d}"
        rng = np.random.default_rng([chapter.seed, chapter.speaker.id, chapter.number, i])
        wave, words = _voices[0].speak(text, chapter.speaker, rng)
        soundfile.write(chapter.folder / f"{name}.flac", wave, RATE, subtype="PCM_16")
        lines["alignment"].append(alignment_line(name, words, len(wave) / RATE))
        lines["trans"].append(f"{name} {text.upper()}")
        seconds += len(wave) / RATE
    for kind in lines:
        part = chapter.file(kind).with_suffix(".part")
        part.write_text("\n".join(lines[kind]) + "\n", encoding="utf-8")
        os.replace(part, chapter.file(kind))
    return seconds


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    (config,) = parse(None, __doc__.split("\n")[0], CorpusConfig)
    if not config.dir or not config.grammar or config.hours <= 0 or config.jobs < 1:
        fail("give --dir, --grammar, --hours above 0 and --jobs above 0")
    try:
        chapters = plan(config)
        claim(config, chapters)
    except (ValueError, OSError) as error:
        fail(str(error))
    waiting = [chapter for chapter in chapters if not chapter.file("trans").exists()]
    words = {word for chapter in chapters for text in chapter.sentences for word in text.split()}
    logger.info(
        "%d utterances of %d distinct words in %d chapters; %d chapters are to be synthesized",
        sum(len(chapter.sentences) for chapter in chapters),
        len(words),
        len(chapters),
        len(waiting),
    )
    seconds = 0.0
    with multiprocessing.get_context("spawn").Pool(config.jobs) as pool:
        for done, chapter_seconds in enumerate(pool.imap_unordered(speak_chapter, waiting), start=1):
            seconds += chapter_seconds
            if done % 20 == 0 or done == len(waiting):
                logger.info("%d of %d chapters, %.1f minutes of speech", done, len(waiting), seconds / 60)


if __name__ == "__main__":
    main()
