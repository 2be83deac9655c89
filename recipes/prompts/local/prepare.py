"""Divides the speech of packages into training, validation and test tables.

    python prepare.py --packages PACKAGES --lang fr --dir DATA/corpus

writes DIR/{train,dev,test}.csv and, for Czech, whose small roles have actors of their own, test-roles.csv. A text is in
one table only, whoever speaks it: its hash decides where. No line of a role is in the training data, and no text of the
training data is in test-roles. Files with several channels are stored in DIR/mono as FLAC at 16 kHz.
"""

from __future__ import annotations

import csv
import hashlib
import io
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import soundfile
from sources import Line, dialogues, prompts, stamps

from hainan_k2.cli import errors_in_one_line, parse
from hainan_k2.config import option
from hainan_k2.files.atomic import write_atomic
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
DEV, TEST = 0.08, 0.2  # texts whose hash is below DEV are for validation, those below TEST for the test


@dataclass(frozen=True)
class PromptsConfig:
    packages: str = option("", "folder with the unpacked packages (required)")
    lang: str = option("", "language (required)", ("", *LANGUAGES))
    dir: str = option("", "folder for the tables (required)")

    def __post_init__(self) -> None:
        if not self.packages or not self.lang or not self.dir:
            raise ValueError("give --packages, --lang and --dir")


def different(lines: Iterable[Line], normalise: Callable[[str], str], left_out: Counter) -> Iterator[tuple[Line, str]]:
    """The lines that have words, with their normal form.

    Copies of an audio file and second lines of an id are left out; `left_out` counts them.
    """
    files, ids = set(), set()
    for line in lines:
        normal, digest = normalise(line.text), hashlib.sha256(line.path.read_bytes()).digest()
        reason = "no words" if not normal else "copy of another file" if digest in files else ""
        reason = reason or ("second line of an id" if line.id in ids else "")
        if reason:
            left_out[reason] += 1
        else:
            files.add(digest)
            ids.add(line.id)
            yield line, normal


def divide(lines: Iterable[tuple[Line, str]], left_out: Counter) -> dict[str, list[Line]]:
    """The lines of each split, by the hash of their normal form; roles are in test-roles.

    A line of a role is left out where its text is in the training data.
    """
    splits: dict[str, list[Line]] = defaultdict(list)
    roles, trained = [], set()
    for line, normal in lines:
        share = int.from_bytes(hashlib.sha256(normal.encode("utf-8")).digest()[:4], "big") / 2**32
        if line.role:
            roles.append((line, normal))
        elif share < DEV:
            splits["dev"].append(line)
        elif share < TEST:
            splits["test"].append(line)
        else:
            splits["train"].append(line)
            trained.add(normal)
    for line, normal in roles:
        if normal in trained:
            left_out["line of a role with a text of the training data"] += 1
        else:
            splits["test-roles"].append(line)
    return splits


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


def write_table(lines: Iterable[Line], path: Path) -> None:
    """A table as prepare_data.py reads it; files with several channels are stored as one beside it."""
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("path", "text", "id", "speaker"))
    for line in lines:
        audio = single_channel(line, path.parent / "mono").absolute()
        rows.writerow((audio, " ".join(line.text.split()), line.id, line.speaker))
    write_atomic(path, table.getvalue())


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
            write_table(of_split, folder / f"{split}.csv")
            speakers = len({line.speaker for line in of_split})
            logger.info("%s: %d lines, %d speakers", split, len(of_split), speakers)
        for reason, count in sorted(left_out.items()):
            logger.info("left out: %d, %s", count, reason)


if __name__ == "__main__":
    main()
