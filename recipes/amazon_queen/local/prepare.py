"""Makes a corpus of 4.5 hours of acted dialogue from Flight of the Amazon Queen, in the folders of LibriSpeech.

    python prepare.py --queen queen.1c --splits conf/splits.yaml --dir download/corpus

Writes DIR/SPLIT/SPEAKER/SOURCE/SPEAKER-SOURCE-NAME.flac (16 kHz) and SPEAKER-SOURCE.trans.txt for the splits train
(lines of known speakers), train-cut (cut scenes, whose speakers are unknown), dev, test and test-joe. Logs how many
lines are left out, by reason.
"""

from __future__ import annotations

import io
import logging
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import soundfile
from corpus import Utterance, write_split
from queen import CUTAWAY, HERO, Line, Queen

from hainan_k2.cli import fail, parse, read_yaml
from hainan_k2.config import option
from hainan_k2.text import normalise

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PrepareConfig:
    queen: str = option("", "the game's data file queen.1c (required)")
    splits: str = option("", "YAML file with the held-out speakers (required)")
    dir: str = option("", "folder to write to (required)")


def recorded_lines(queen: Queen, dropped: Counter) -> list[Line]:
    """The lines that have a sound and exactly one text with words, sorted by name; `dropped` counts the others."""
    texts: dict[str, dict[str, Line]] = defaultdict(dict)
    for line in queen.texts():
        texts[line.name][normalise(line.text)] = line
    lines = []
    for name in sorted({*texts, *queen.names(".SB")}):
        if name not in texts:
            dropped["sound without a text"] += 1
        elif f"{name}.SB" not in queen:
            dropped["text without a sound"] += 1
        elif len(texts[name]) > 1:
            dropped["sound with two texts"] += 1
        elif "" in texts[name]:
            dropped["no words (a sigh, a gulp)"] += 1
        else:
            lines += texts[name].values()
    return lines


def assign(lines: Iterable[Line], splits: dict, dropped: Counter) -> dict[str, list[Line]]:
    """Assign lines to splits. Training lines with the text of a held-out line are dropped.

    Raises:
      ValueError: if a held-out speaker has no lines, or the hero has too few.
    """
    lines = list(lines)
    missing = {*splits["test"], *splits["dev"]} - {line.speaker for line in lines}
    if missing:
        raise ValueError(f"no lines of {', '.join(sorted(missing))}, who should be held out")
    chosen = {split: [line for line in lines if line.speaker in splits[split]] for split in ("dev", "test")}
    rest = [line for line in lines if line.speaker not in {*splits["test"], *splits["dev"]}]

    held_out = {normalise(line.text) for split in ("dev", "test") for line in chosen[split]}
    counts = Counter(normalise(line.text) for line in rest)
    once = [
        line
        for line in rest
        if line.speaker == HERO and counts[normalise(line.text)] == 1 and normalise(line.text) not in held_out
    ]
    if len(once) < splits["joe_lines"]:
        raise ValueError(f"joe_lines is {splits['joe_lines']}, but {HERO} has only {len(once)} lines with unique texts")
    joe = {line.name for line in random.Random(splits["seed"]).sample(once, splits["joe_lines"])}
    chosen["test-joe"] = [line for line in rest if line.name in joe]
    chosen.update({"train": [], "train-cut": []})
    for line in rest:
        if line.name not in joe and normalise(line.text) in held_out:
            dropped["training line with the text of a held-out line"] += 1
        elif line.name not in joe:
            chosen["train-cut" if line.speaker == CUTAWAY else "train"].append(line)
    return chosen


def utterances(queen: Queen, lines: Iterable[Line], dropped: Counter) -> Iterator[Utterance]:
    """The lines with their samples; `dropped` counts the sounds that cannot be decoded."""
    for line in lines:
        try:
            samples, rate = soundfile.read(io.BytesIO(queen.read(f"{line.name}.SB")), dtype="float32")
        except soundfile.SoundFileError:
            dropped["sound that cannot be decoded"] += 1
            continue
        yield Utterance(line.speaker, line.source, line.name, line.text, samples, rate)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    (config,) = parse(None, __doc__.split("\n")[0], PrepareConfig)
    if not (config.queen and config.splits and config.dir):
        fail("give --queen, --splits and --dir")
    dropped: Counter = Counter()
    try:
        queen = Queen(Path(config.queen))
        chosen = assign(recorded_lines(queen, dropped), read_yaml(config.splits), dropped)
    except (ValueError, OSError) as error:
        fail(str(error))
    for split, lines in chosen.items():
        count, seconds = write_split(utterances(queen, lines, dropped), Path(config.dir) / split)
        logger.info(
            "%s: %d lines, %.1f minutes, %d speakers", split, count, seconds / 60, len({line.speaker for line in lines})
        )
    for reason, count in sorted(dropped.items()):
        logger.info("left out: %d, %s", count, reason)


if __name__ == "__main__":
    main()
