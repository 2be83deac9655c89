"""Your data as cuts, checked, and cuts as files of other programs.

    hainan-data data/train data/dev --out-dir manifests              Kaldi directories
    hainan-data train.json --out-dir manifests --normalise english   NeMo manifest
    hainan-data recordings/ --out-dir manifests --hold-out dev=0.05,test=0.05    audio with .txt files
    hainan-data cuts.jsonl.gz --out-dir out --to kaldi,trn           lhotse cuts to Kaldi and sclite

Every audio file is decoded. An utterance that cannot be used stops the command, with the file and the line; with
--max-left-out it is named and left out, and the kinds of problems are counted.

Exit codes: 0; 2 for an error, with one line on stderr.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Optional

if __package__ in (None, ""):  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from hainan_k2.cli import errors_in_one_line, parse, start_logging
from hainan_k2.config import option

if TYPE_CHECKING:
    from lhotse import MonoCut

    from hainan_k2.data.checks import Checked

logger = logging.getLogger(__name__)
KINDS = ("auto", "kaldi", "nemo", "table", "folder", "cuts", "shar", "librispeech")
FORMATS = ("cuts", "kaldi", "nemo", "trn", "ctm", "shar")


@dataclass(frozen=True)
class PrepareConfig:
    source: tuple[str, ...] = option(
        (),
        "Kaldi directories, NeMo manifests, .csv or .tsv with columns path and text, folders of audio with .txt files, "
        "lhotse cuts or Shar, LibriSpeech's folders",
        positional=True,
    )
    out_dir: str = option("", "folder to write to (required)")
    kind: str = option("auto", "what the sources are; auto: each as its files tell", KINDS)
    split: tuple[str, ...] = option((), "names of the sources in the output; default: those of the files or folders")
    hold_out: tuple[str, ...] = option(
        (), "parts of the only source to hold out, e.g. dev=0.05,test=0.05, by speaker where 20 are known"
    )
    normalise: str = option("none", "what is done to texts: english, lower, none, or a function as module:function")
    allow_pipes: bool = option(False, "run the shell commands that wav.scp, or cuts, name as audio; store their output")
    max_left_out: float = option(
        0.0, "largest part of the utterances of a source that may be left out", at_least=0, at_most=1
    )
    to: tuple[str, ...] = option(("cuts",), "what to write, comma between", FORMATS)
    prefix: str = option("", "first part of the names of manifests")
    num_jobs: int = option(2, "audio files decoded at a time", at_least=1, at_most=1000)

    help_title, help_example = "options", "data/train data/dev --out-dir manifests"

    def __post_init__(self) -> None:
        if not self.source or not self.out_dir:
            raise ValueError("give sources and --out-dir")
        if self.split and len(self.split) != len(self.source):
            raise ValueError(f"--split has {len(self.split)} names for {len(self.source)} sources")
        if len(set(self.names)) < len(self.source):
            raise ValueError(f"sources have the same name, {', '.join(self.names)}: name them by --split")
        if self.hold_out and len(self.source) > 1:
            raise ValueError("--hold-out divides a single source")

    @property
    def names(self) -> list[str]:
        """The names of the splits."""
        return list(self.split) or [
            Path(source).resolve().name.split(".")[0].split("cuts_")[-1] for source in self.source
        ]

    def fractions(self) -> dict[str, float]:
        """The fraction of each part of --hold-out. Raises ValueError where one is not of the form NAME=FRACTION."""
        fractions = {}
        for part in self.hold_out:
            name, _, fraction = part.partition("=")
            if not name or name in fractions:
                raise ValueError(f"--hold-out {','.join(self.hold_out)}: each part needs a name of its own")
            try:
                fractions[name] = float(fraction)
            except ValueError:
                raise ValueError(f"--hold-out {part}: it should be NAME=FRACTION, e.g. dev=0.05") from None
        return fractions


def prepare(config: PrepareConfig) -> None:
    """Read, check and write every source.

    Raises ValueError, after the other sources are written, where too much of one is left out, or nothing remains.
    """
    from hainan_k2.data.checks import check_utterances
    from hainan_k2.data.hold_out import hold_out
    from hainan_k2.data.sources import READERS, kind_of_source
    from hainan_k2.text.normalisation import Normalisation

    normalise = Normalisation(config.normalise)
    out_dir, taken, fractions = Path(config.out_dir), set[str](), config.fractions()
    refused: list[str] = []
    check_targets(config, [*fractions, *config.names])
    for source, name in zip(map(Path, config.source), config.names):
        kind = kind_of_source(source) if config.kind == "auto" else config.kind
        read = READERS[kind](source, config.allow_pipes, out_dir / "audio" / name)
        checked = check_utterances(*read, config.num_jobs, taken, normalise)
        total = len(read[0]) + len(read[1])
        reason = objection(source, checked, total, config.max_left_out)
        if reason:
            refused.append(reason)
            continue
        parts = hold_out(checked.cuts, fractions, name) if fractions else {name: [*checked.cuts]}
        logger.info("%s (%s): %s", source, kind, checked.left_out())
        for part, cuts in parts.items():
            write(cuts, out_dir, part, config)
            logger.info("%s: %d utterances, %.2f h", part, len(cuts), sum(cut.duration for cut in cuts) / 3600)
    if refused:
        raise ValueError(refused[0] + (f" (and {len(refused) - 1} more sources are refused)" if refused[1:] else ""))


def objection(source: Path, checked: Checked, total: int, max_left_out: float) -> str:
    """Why a source is refused, with its first problem; "" where it is not. The log names the other problems."""
    problems = checked.problems
    excess = len(problems) > max_left_out * total
    for problem in problems[1:] if excess or not checked.cuts else problems:
        logger.warning(problem)
    if not problems:
        return "" if checked.cuts else f"{source}: no utterances in it"
    if not checked.cuts:
        return f"{problems[0]}: nothing is left of {source}"
    if excess:
        return (
            f"{problems[0]}: {checked.left_out()} of {total} utterances of {source}; "
            f"--max-left-out {math.ceil(1000 * len(problems) / total) / 1000:g} would allow that"
        )
    return ""


def check_targets(config: PrepareConfig, splits: Sequence[str]) -> None:
    """Raises ValueError where one of the sources would be written over."""
    for name, kind, source in product(splits, config.to, config.source):
        target = target_of(kind, Path(config.out_dir), name, config.prefix)
        if target.exists() and Path(source).exists() and target.samefile(source):
            raise ValueError(f"{target} is what is read: choose another --out-dir")


def target_of(kind: str, out_dir: Path, name: str, prefix: str) -> Path:
    """The file or folder of a split in a format of --to."""
    from hainan_k2.data.exports import EXPORTS
    from hainan_k2.data.manifests import manifest_name

    return out_dir / (manifest_name(prefix, "cuts", name) if kind == "cuts" else EXPORTS[kind][0].format(split=name))


def write(cuts: Sequence[MonoCut], out_dir: Path, name: str, config: PrepareConfig) -> None:
    """Write the cuts of a split in every format of --to."""
    from hainan_k2.data.exports import EXPORTS
    from hainan_k2.data.manifests import write_manifests

    out_dir.mkdir(parents=True, exist_ok=True)
    for kind in config.to:
        if kind == "cuts":
            write_manifests(cuts, out_dir, name, config.prefix)
        else:
            EXPORTS[kind][1](cuts, target_of(kind, out_dir, name, config.prefix))


def main(argv: Optional[Sequence[str]] = None) -> None:
    (config,) = parse(argv, __doc__, PrepareConfig)
    start_logging()
    with errors_in_one_line():
        prepare(config)


if __name__ == "__main__":
    main()
