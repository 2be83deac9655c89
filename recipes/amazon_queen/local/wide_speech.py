"""Makes synthetic training speech: many pseudo-speakers read given sentences. The split has the folders of LibriSpeech.

    python wide_speech.py --text data/text/brown.written.txt --dir data/corpus/wide-brown --hours 8

Writes DIR/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NNNN.flac (16 kHz) and SPEAKER-CHAPTER.trans.txt with the texts in normal
form. The speech is synthesized by recipes/shared/voice.py. The same options give the same bytes; with more hours, the
first chapters stay the same. If a run is interrupted, the next one makes the missing chapters.
"""

from __future__ import annotations

import logging
import multiprocessing
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from chapter import Chapter, Speaker, speak_chapter
from sentences import choose_sentences, claim

from hainan_k2.cli import fail, parse
from hainan_k2.config import option

logger = logging.getLogger(__name__)

SPEAKERS = 240
CHAPTER = 24  # utterances


@dataclass(frozen=True)
class WideConfig:
    text: str = option("", "text file, one sentence per line, in written form (required)")
    dir: str = option("", "folder to write the split to (required)")
    hours: float = option(8.0, "approximate hours of speech; fewer if there are too few sentences", above=0)
    min_words: int = option(3, "smallest number of words in a sentence", at_least=1)
    max_words: int = option(20, "largest number of words in a sentence", at_least=1)
    seed: int = option(
        0, "random seed of order, speakers and noise; splits with different seeds share no speaker", at_least=0
    )
    jobs: int = option(2, "number of processes", at_least=1)


def draw_speakers(seed: int) -> list[Speaker]:
    """The speakers: pitch and formants evenly spread over their ranges, everything else random."""
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


def plan(chosen: list[tuple[str, str]], config: WideConfig) -> Iterator[Chapter]:
    """Chapters of about `hours` in total; the speakers take turns."""
    speakers, planned = draw_speakers(config.seed), 0.0
    for number, start in enumerate(range(0, len(chosen), CHAPTER)):
        if planned >= config.hours * 3600:
            return
        speaker, sentences = speakers[number % SPEAKERS], tuple(chosen[start : start + CHAPTER])
        folder = Path(config.dir) / str(speaker.id) / str(number)
        yield Chapter(speaker, number, sentences, folder, config.seed)
        planned += sum(1.2 + 0.052 * len(normal) for normal, _ in sentences)  # estimated seconds


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    (config,) = parse(None, __doc__.split("\n")[0], WideConfig)
    if not config.text or not config.dir or config.hours <= 0 or config.jobs < 1 or config.min_words < 1:
        fail("give --text and --dir, and --hours, --jobs and --min-words above 0")
    try:
        with open(config.text, encoding="utf-8") as lines:
            chosen = choose_sentences(lines, config.text, config.min_words, config.max_words, config.seed)
        claim(Path(config.dir), chosen, config.seed)
    except (ValueError, OSError) as error:
        fail(str(error))
    chapters = list(plan(chosen, config))
    waiting = [chapter for chapter in chapters if not chapter.transcript.exists()]
    planned = sum(len(chapter.sentences) for chapter in chapters)
    logger.info(
        "%d of %d sentences in %d chapters; %d chapters are to be synthesized",
        planned,
        len(chosen),
        len(chapters),
        len(waiting),
    )
    total: Counter = Counter()
    with multiprocessing.get_context("spawn").Pool(config.jobs) as pool:
        for done, (seconds, skipped) in enumerate(pool.imap_unordered(speak_chapter, waiting), start=1):
            total.update(seconds=seconds, skipped=skipped)
            if done % 50 == 0 or done == len(waiting):
                logger.info(
                    "%d of %d chapters, %.2f hours of speech; %d sentences left out: phones do not match words",
                    done,
                    len(waiting),
                    total["seconds"] / 3600,
                    total["skipped"],
                )


if __name__ == "__main__":
    main()
