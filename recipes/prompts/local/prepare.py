"""Divides the speech of Debian packages into training, validation and test tables.

    python prepare.py --packages PACKAGES --lang fr --dir DATA/corpus

writes DIR/{train,dev,test}.csv and, for Czech, whose small roles have actors of their own, test-roles.csv. The
hash of a text decides on its table, whoever speaks it, so that no text of the training data is in another table. Lines
of roles are in test-roles alone. Files with several channels are stored in DIR/mono as FLAC at 16 kHz.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import soundfile

sys.path.append(str(Path(__file__).resolve().parents[2] / "shared"))
from sources import Line, dialogues, prompts, stamps
from splits import different, divide
from tables import write_table

from hainan_k2.cli import errors_in_one_line, parse
from hainan_k2.config import option
from hainan_k2.frontend.audio import SAMPLING_RATE, read_audio
from hainan_k2.text.normalisation import Normalisation

logger = logging.getLogger(__name__)

Reader = Callable[[Path, str, Counter], Iterator[Line]]
# By language: the name of its text normalisation, and its sources.
LANGUAGES: dict[str, tuple[str, tuple[Reader, ...]]] = {
    "fr": ("french", (prompts, stamps)),
    "es": ("spanish", (prompts, stamps)),
    "it": ("italian", (prompts,)),
    "ru": ("russian", (prompts, stamps)),
    "cs": ("czech", (dialogues,)),
    "nl": ("dutch", (dialogues, stamps)),
}


@dataclass(frozen=True)
class PromptsConfig:
    packages: str = option("", "folder with the unpacked packages (required)")
    lang: str = option("", "language (required)", ("", *LANGUAGES))
    dir: str = option("", "folder for the tables (required)")

    def __post_init__(self) -> None:
        if not self.packages or not self.lang or not self.dir:
            raise ValueError("give --packages, --lang and --dir")


def single_channel(line: Line, folder: Path) -> Path:
    """The audio of a line: its file or, where that has several channels, their mean as a file in `folder`.

    A damaged file is left to prepare_data.py, which names it.
    """
    try:
        if soundfile.info(line.path).channels == 1:
            return line.path
    except soundfile.LibsndfileError:
        return line.path
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / f"{line.id}.flac", read_audio(line.path), SAMPLING_RATE)
    return folder / f"{line.id}.flac"


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    with errors_in_one_line():
        (config,) = parse(None, __doc__.split("\n")[0], PromptsConfig)
        name, readers = LANGUAGES[config.lang]
        left_out: Counter = Counter()
        lines = (line for read in readers for line in read(Path(config.packages), config.lang, left_out))
        splits = divide(different(lines, Normalisation(name), left_out), left_out)
        folder = Path(config.dir)
        folder.mkdir(parents=True, exist_ok=True)
        for split, of_split in sorted(splits.items()):
            rows = [(single_channel(line, folder / "mono"), line.text, line.id, line.speaker) for line in of_split]
            write_table(rows, folder / f"{split}.csv")
            speakers = len({line.speaker for line in of_split})
            logger.info("%s: %d lines, %d speakers", split, len(of_split), speakers)
        for reason, count in sorted(left_out.items()):
            logger.info("left out: %d, %s", count, reason)


if __name__ == "__main__":
    main()
