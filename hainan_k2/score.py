"""Score recognised texts: word and character error rates with confidence intervals, and whether two systems differ.

    python hainan_k2/score.py exp/decode/recogs-test-nar-greedy.txt exp/decode/recogs-test-ar-greedy.txt
    python hainan_k2/score.py exp/decode/recogs-test-ar-greedy.txt --trn-dir trn      also writes trn files for sclite
    python hainan_k2/score.py hyp.trn --reference ref.trn

prints the score of each file and, from the second file on, how it differs from the first: by paired bootstrap over
utterances, and by the matched-pairs test of segments.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

if __package__ in (None, ""):  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from hainan_k2.cli import Parser, errors_in_one_line
from hainan_k2.files.trn import read_trn_pair, write_trn
from hainan_k2.scoring.results import read_recogs
from hainan_k2.scoring.segments import compare_segments
from hainan_k2.scoring.wer import score


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = Parser(description="Score recogs-*.txt or trn files and compare each with the first.")
    parser.add_argument(
        "results", nargs="+", type=Path, help="recogs-*.txt of decode.py or icefall; *.trn of any program"
    )
    parser.add_argument("--reference", type=Path, help="trn file with the references of *.trn")
    parser.add_argument("--trn-dir", type=Path, help="folder to write references and hypotheses to, as trn for sclite")
    options = parser.parse_args(argv)
    files = options.results
    with errors_in_one_line():
        if options.reference is None:
            results = [read_recogs(path) for path in files]
        else:
            results = [read_trn_pair(options.reference, path) for path in files]
        scores = [score(texts) for texts in results]
        for path, scored in zip(files, scores):
            print(f"{path}: {scored}")
        for path, scored in zip(files[1:], scores[1:]):
            c, segments = scored.compare(scores[0]), compare_segments(scores[0], scored)
            print(
                f"{path} less {files[0]}: WER {100 * c.difference:+.2f} % "
                f"[{100 * c.low:+.2f}, {100 * c.high:+.2f}], p = {c.p_value:.3f}; "
                f"of {segments.segments} segments with errors, p = {segments.p_value:.3f}"
            )
        if options.trn_dir is not None:
            options.trn_dir.mkdir(parents=True, exist_ok=True)
            for path, texts in zip(files, results):
                for side, name in enumerate(("ref", "hyp"), 1):
                    stem = path.stem[len("recogs-") :] if path.stem.startswith("recogs-") else path.stem
                    write_trn(options.trn_dir / f"{stem}.{name}.trn", ((text[0], text[side]) for text in texts))


if __name__ == "__main__":
    main()
