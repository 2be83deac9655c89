"""Stage 1: lhotse manifests of a corpus in the folders of LibriSpeech.

Every audio file is decoded. Utterances that cannot be used (truncated audio, missing or empty transcripts, duplicate
ids) are named, counted and left out.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

if __package__ in (None, ""):  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from hainan_k2.cli import Parser, errors_in_one_line, start_logging


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--corpus-dir", type=Path, required=True, help="folder with SPLIT/SPEAKER/CHAPTER/*.flac")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder for the manifests")
    parser.add_argument("--split", nargs="+", required=True, help="folders in --corpus-dir, e.g. train dev test")
    parser.add_argument("--prefix", default="librispeech", help="first part of the names of manifests")
    parser.add_argument("--num-jobs", type=int, default=2, help="audio files decoded at a time")
    options = parser.parse_args(argv)
    start_logging()
    with errors_in_one_line():
        prepare(options.corpus_dir, options.out_dir, options.split, options.prefix, options.num_jobs)


def prepare(corpus_dir: Path, out_dir: Path, splits: Sequence[str], prefix: str, num_jobs: int) -> None:
    """Write the manifests of all splits. Raises ValueError, after the last, where a split has no utterances left."""
    from hainan_k2.data.manifests import read_librispeech, write_manifests

    taken: set[str] = set()
    empty = []
    for split in splits:
        utterances, problems = read_librispeech(corpus_dir / split)
        report = write_manifests(utterances, out_dir, split, prefix, problems, num_jobs, taken)
        if not report.kept:
            empty.append(split)
    if empty:
        raise ValueError(f"nothing is left of {', '.join(empty)} in {corpus_dir}: see the warnings above")


if __name__ == "__main__":
    main()
