"""Score recognised texts: word and character error rates with confidence intervals, and whether two systems differ.

    python hainan_k2/score.py exp/decode/recogs-test-nar-greedy.txt exp/decode/recogs-test-ar-greedy.txt

prints the score of each file and, from the second file on, how it differs from the first.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

if __package__ in (None, ""):  # run as a script: its folder is on sys.path, but the package's parent should be
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from hainan_k2.cli import Parser, errors_in_one_line
from hainan_k2.scoring.results import read_recogs
from hainan_k2.scoring.wer import score


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = Parser(description="Score recogs-*.txt files and compare each with the first.")
    parser.add_argument("recogs", nargs="+", type=Path, help="files written by decode.py or by an icefall recipe")
    files = parser.parse_args(argv).recogs
    with errors_in_one_line():
        scores = [score(read_recogs(path)) for path in files]
        for path, scored in zip(files, scores):
            print(f"{path}: {scored}")
        for path, scored in zip(files[1:], scores[1:]):
            c = scored.compare(scores[0])
            print(
                f"{path} less {files[0]}: WER {100 * c.difference:+.2f} % "
                f"[{100 * c.low:+.2f}, {100 * c.high:+.2f}], p = {c.p_value:.3f}"
            )


if __name__ == "__main__":
    main()
