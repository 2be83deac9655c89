"""Tables of Multilingual LibriSpeech (SLR94), from the folders as they are published.

    python prepare.py --mls mls_german --subset 10h --dir DATA/corpus

reads

    mls_german/SPLIT/transcripts.txt                             lines `ID<tab>TEXT`
    mls_german/SPLIT/audio/SPEAKER/BOOK/ID.flac (or .opus)       ID is SPEAKER_BOOK_NUMBER
    mls_german/train/limited_supervision/9hr/handles.txt         IDs; 1hr/0 to 1hr/5 hold ten minutes each

and writes DIR/{train,dev,test}.csv. segments.txt, which tells where in a book an utterance is, is not read.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "shared"))
from tables import write_table

from hainan_k2.cli import errors_in_one_line, parse
from hainan_k2.config import option
from hainan_k2.files.text_tables import read_text

logger = logging.getLogger(__name__)

SPLITS = ("train", "dev", "test")
# The lists of limited_supervision that make a subset; `*` stands for the six lists of ten minutes.
SUBSETS = {"full": (), "10h": ("9hr", "1hr/*"), "1h": ("1hr/*",)}


@dataclass(frozen=True)
class MlsConfig:
    mls: str = option("", "folder of a language, such as mls_german (required)")
    subset: str = option("full", "training data: all, or lists of limited_supervision", tuple(SUBSETS))
    dir: str = option("", "folder for the tables (required)")

    def __post_init__(self) -> None:
        if not self.mls or not self.dir:
            raise ValueError("give --mls and --dir")


def lines_of(path: Path) -> Iterator[tuple[str, str]]:
    """(FILE:LINE, LINE) of the lines of a text file that are not blank."""
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if line.strip():
            yield f"{path}:{number}", line


def transcripts(split: Path) -> dict[str, str]:
    """The texts of a split by id. Raises ValueError, naming file and line, for an id of another form, and for a second
    line of an id."""
    texts: dict[str, str] = {}
    for where, line in lines_of(split / "transcripts.txt"):
        name, _, text = line.partition("\t")
        if len(name.split("_")) != 3 or not all(part.isalnum() for part in name.split("_")):
            raise ValueError(f"{where}: {name[:40]!r} is not SPEAKER_BOOK_NUMBER with a tab after it")
        if name in texts:
            raise ValueError(f"{where}: {name} a second time")
        texts[name] = text.strip()
    if not texts:
        raise ValueError(f"{split / 'transcripts.txt'}: no transcripts in it")
    return texts


def handles(train: Path, subset: str, texts: dict[str, str]) -> list[str]:
    """The ids of a subset of the training data, in the order of the lists. Raises ValueError where a list is missing or
    names an utterance without a transcript."""
    if subset == "full":
        return list(texts)
    ids: dict[str, None] = {}
    for pattern in SUBSETS[subset]:
        lists = sorted((train / "limited_supervision").glob(f"{pattern}/handles.txt"))
        if not lists:
            raise ValueError(f"{train}/limited_supervision has no {pattern}/handles.txt, which subset {subset} needs")
        for path in lists:
            for where, line in lines_of(path):
                if line.strip() not in texts:
                    raise ValueError(f"{where}: {line.strip()[:40]!r} is not in transcripts.txt")
                ids[line.strip()] = None
    return list(ids)


def audio_of(split: Path, name: str) -> Path:
    """The file of an utterance: .opus where there is one, else .flac, which prepare_data.py names if it is missing."""
    speaker, book, _ = name.split("_")
    path = split / "audio" / speaker / book / f"{name}.opus"
    return path if path.is_file() else path.with_suffix(".flac")


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    with errors_in_one_line():
        (config,) = parse(None, __doc__.split("\n")[0], MlsConfig)
        folder = Path(config.dir)
        folder.mkdir(parents=True, exist_ok=True)
        for name in SPLITS:
            split = Path(config.mls) / name
            texts = transcripts(split)
            ids = handles(split, config.subset, texts) if name == "train" else list(texts)
            rows = [(audio_of(split, id), texts[id], id, id.partition("_")[0]) for id in ids]
            write_table(rows, folder / f"{name}.csv")
            logger.info("%s: %d of %d utterances", name, len(ids), len(texts))
            untold = [path for path in (split / "audio").rglob("*_*.*") if path.stem not in texts]
            if untold:
                logger.warning("%s: %d audio files without a transcript, e.g. %s", name, len(untold), min(untold))


if __name__ == "__main__":
    main()
